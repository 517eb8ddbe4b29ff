//! SIGHUP: the file is read again while the node goes on.

use std::fs;
use std::time::Duration;

use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;
use rustix::process::Signal;
use serde_json::json;

const SOON: Duration = Duration::from_secs(5);

/// Writes the node's configuration as it is planned now, sends SIGHUP, and waits until the log says `expected`.
async fn reload(site: &Site, core: &Core, expected: &str) {
    let file = site.scratch.join(&format!("{}.toml", core.node.id));
    fs::write(&file, site.toml(&core.node.id)).expect("a configuration in the test's directory");
    let before = core.process.log().matches(expected).count();
    core.process.signal(Signal::HUP);
    wait::until(&format!("the log says {expected:?}"), SOON, async || {
        core.process.log().matches(expected).count() > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_change_does_and_the_rest_is_named() {
    let mut site = Site::new("reload", &[], &["a"]);
    let a = site.core("a").await;
    let begin = async |id: &str| a.api.patch("default", id, "none", &json!({"set": {}})).await;
    begin("S1").await.expect("there is no limit yet");

    site.change("a", |plan| {
        plan.extra =
            "\n[session]\nmax_active = 1\n[replication]\nqueue_bytes = \"1MiB\"\n[log]\nlevel = \"debug\"\n"
                .into();
    });
    reload(&site, &a, "configuration loaded again").await;
    let refused = begin("S2").await.expect_err("a second session").to_string();
    assert!(
        refused.contains("503") && refused.contains("max_active"),
        "{refused}"
    );
    begin("S1").await.expect("a session that is there goes on");
    let log = a.process.log();
    let line = |key: &str| log.lines().find(|line| line.contains(key)).unwrap_or_default();
    assert!(line("replication.queue_bytes").contains("next start"), "{log}");
    assert!(line("session.max_active").contains("in use"), "{log}");
    assert!(line("\"log.level\"").contains("in use"), "{log}");

    site.change("a", |plan| {
        plan.extra = "\n[session]\nmax_active = 9\n[replication]\nqueue_bytes = \"0B\"\n".into();
    });
    reload(&site, &a, "everything stays as it was").await;
    assert!(
        a.process.log().contains("replication.queue_bytes: from 64KiB"),
        "it says why"
    );
    begin("S2").await.expect_err("the limit is still one");

    site.change("a", |plan| plan.extra = String::new());
    reload(&site, &a, "configuration loaded again").await;
    begin("S2").await.expect("no limit any more");
}
