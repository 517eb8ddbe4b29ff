//! SIGHUP: the file is read again while the node goes on.

use std::fs;
use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;
use limpet_wire::report::{Operation, Report};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_no_pattern_names_stay_with_the_worker_from_the_moment_it_is_said() {
    let mut site = Site::new("replicate", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    let change = json!({ "set": { "cart": encoded("1"), "cartoon": encoded("2") } });
    let answer = a
        .api
        .patch("default", "S0", "all", &change)
        .await
        .expect("an answer");
    assert_eq!(
        answer["ignored"],
        json!(null),
        "nothing is named, so everything is kept"
    );

    site.change("a", |plan| {
        plan.extra = "\n[replication]\nreplicate = [\"cart\", \"step[0-9]+\"]\n".into();
    });
    reload(&site, &a, "configuration loaded again").await;
    let answer = a
        .api
        .patch("default", "S1", "all", &change)
        .await
        .expect("an answer");
    assert_eq!(
        (&answer["ignored"], &answer["copies"]),
        (&json!(["cartoon"]), &json!(2)),
        "{answer}"
    );
    let operation = |id: &str, names: &[&str]| Operation {
        app: "default".into(),
        id: id.into(),
        set: names.iter().map(|name| (name.to_string(), vec![7])).collect(),
        ..Operation::default()
    };
    let report = Report {
        operations: vec![
            operation("S2", &["step1", "step", "other"]),
            operation("S3", &["other"]),
        ],
    };
    let reply = a.api.report(&report, "all").await.expect("a reply");
    assert!(reply.refused.is_empty(), "{:?}", reply.refused);
    for core in [&a, &b] {
        let session = async |id: &str| core.api.session("default", id).await.expect("an answer");
        let s1 = session("S1").await.expect("S1 is there");
        assert_eq!(attribute(&s1, "cart").as_deref(), Some(&b"1"[..]));
        assert_eq!(attribute(&s1, "cartoon"), None);
        let s2 = session("S2").await.expect("S2 is there");
        assert_eq!(
            s2["attributes"].as_object().map(serde_json::Map::len),
            Some(1),
            "{s2}"
        );
        assert_eq!(session("S3").await, None, "it holds nothing that is kept");
    }
    let ignored = a.api.metric("limpet_attributes_ignored_total", "").await;
    assert_eq!(ignored.expect("a metric"), 4);

    let remove = json!({ "remove": ["cartoon"] });
    a.api
        .patch("default", "S0", "all", &remove)
        .await
        .expect("what is there can go");
    let s0 = b
        .api
        .session("default", "S0")
        .await
        .expect("an answer")
        .expect("S0 is there");
    assert_eq!(attribute(&s0, "cartoon"), None);

    site.change("a", |plan| {
        plan.extra = "\n[replication]\nreplicate = [\"(cart\"]\n".into()
    });
    reload(&site, &a, "everything stays as it was").await;
    assert!(
        a.process
            .log()
            .contains("replication.replicate[0]: not a regular expression")
    );
}
