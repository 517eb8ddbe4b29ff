//! Does a core that cannot do its job any more end, with a reason, instead of looking healthy? A task that the node
//! cannot do without fails, and a change makes the process panic. Both faults are injected by environment variables
//! that only debug builds read.

use std::time::Duration;

use limpet_tests::cluster::Site;
use limpet_tests::wait;
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);
/// `EX_SOFTWARE` of sysexits.h.
const EXIT_SOFTWARE: i32 = 70;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_whose_long_lived_task_fails_ends_with_the_reason() {
    for task in ["ticks", "timers", "accept", "dial", "api"] {
        let mut site = Site::new("standing", &[], &["a"]);
        site.change("a", |node| {
            node.env.push(("LIMPET_FAIL_TASK".into(), task.into()));
        });
        let mut a = site.start_core("a");
        let status = a.process.ended(SOON).await;
        assert_eq!(status.code(), Some(EXIT_SOFTWARE), "{task}: {}", a.process.tail());
        let reason = format!("the task {task} panicked");
        assert!(a.process.log().contains(&reason), "{task}: {}", a.process.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_makes_a_core_panic_is_refused_after_its_restart() {
    let mut site = Site::new("quarantine", &[], &["a", "b"]);
    let state = site.scratch.join("state-b");
    std::fs::create_dir_all(&state).expect("a directory for the state of b");
    site.change("b", |node| {
        node.node = format!("state_dir = \"{}\"", state.display());
        node.env.push(("LIMPET_FAIL_ON_ID".into(), "poison".into()));
    });
    let (a, mut b) = (site.core("a").await, site.core("b").await);
    wait::until("a sees b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;

    let change = json!({ "set": { "x": "MQ==" } });
    a.api
        .patch("default", "poison", "none", &change)
        .await
        .expect("a takes it");
    let status = b.process.ended(SOON).await;
    assert_eq!(status.code(), Some(EXIT_SOFTWARE), "{}", b.process.tail());
    let kept = std::fs::read_to_string(state.join("quarantine")).expect("the quarantine of b");
    assert!(kept.contains(" a default poison "), "{kept}");

    // The fault is still there: only what is refused cannot cause it again.
    let b = site.core("b").await;
    a.api
        .patch("default", "sound", "all", &change)
        .await
        .expect("a takes it");
    let held = async |id| b.api.session("default", id).await.expect("b answers").is_some();
    wait::until("b has the sound session", SOON, async || held("sound").await).await;
    wait::until("b counts what it refused", SOON, async || {
        let refused = b.api.metric("limpet_quarantined_refused_total", "").await;
        refused.is_ok_and(|refused| refused > 0)
    })
    .await;
    assert!(!held("poison").await, "b refused it");
}
