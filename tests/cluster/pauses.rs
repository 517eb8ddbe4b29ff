//! A node that sleeps for a while (SIGSTOP: a long pause, a frozen machine) and wakes up again.

use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::Site;
use limpet_tests::wait;
use serde_json::json;

const APP: &str = "default";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_is_suspected_slows_nobody_and_catches_up() {
    let site = Site::new("sleep", &[], &["a", "b", "c"]);
    let (a, b, c) = (site.core("a").await, site.core("b").await, site.core("c").await);
    wait::until("a sees c", Duration::from_secs(5), async || {
        a.state_of("c").await.as_deref() == Some("ready")
    })
    .await;
    c.process.freeze().await;
    wait::until("a notices the silence", Duration::from_secs(8), async || {
        matches!(a.state_of("c").await.as_deref(), Some("down" | "suspect"))
    })
    .await;
    for number in 0..100 {
        let change = json!({ "set": { "x": encoded("1") } });
        a.api
            .patch(APP, &format!("S{number}"), "none", &change)
            .await
            .expect("an answer");
    }
    wait::until("b has them all", Duration::from_secs(2), async || {
        matches!(b.api.session(APP, "S99").await, Ok(Some(_)))
    })
    .await;
    c.process.thaw();
    wait::until("c catches up", Duration::from_secs(15), async || {
        matches!(c.api.session(APP, "S99").await, Ok(Some(_)))
            && a.state_of("c").await.as_deref() == Some("ready")
            && c.readiness().await.is_ok()
    })
    .await;
}
