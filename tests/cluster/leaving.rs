//! Nodes that go: by SIGTERM with a word, by SIGKILL without one.

use std::time::{Duration, Instant};

use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;

const SOON: Duration = Duration::from_secs(5);

async fn two(name: &str) -> (Site, Core, Core) {
    let site = Site::new(name, &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::until("b sees a", SOON, async || {
        b.state_of("a").await.as_deref() == Some("ready")
    })
    .await;
    (site, a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_leaves_and_peers_know_at_once() {
    let (site, a, b) = two("leave").await;
    let start = Instant::now();
    let status = a.process.terminate(SOON).await;
    assert!(status.success(), "SIGTERM is a clean end, not {status}");
    wait::until("b knows that a left", Duration::from_secs(1), async || {
        matches!(b.state_of("a").await.as_deref(), Some("left") | None)
    })
    .await;
    println!("left and known after {:?}", start.elapsed());
    let again = site.core("a").await;
    wait::until("and may come back", SOON, async || {
        b.state_of("a").await.as_deref() == Some("ready")
    })
    .await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_is_noticed_in_well_under_a_second() {
    let (site, a, b) = two("crash").await;
    let start = Instant::now();
    a.process.kill();
    wait::until("b knows that a is gone", Duration::from_secs(1), async || {
        matches!(b.state_of("a").await.as_deref(), Some("down"))
    })
    .await;
    println!("crash known after {:?}", start.elapsed());
    let again = site.core("a").await;
    wait::until("and may come back", SOON, async || {
        b.state_of("a").await.as_deref() == Some("ready")
    })
    .await;
    drop(again);
}
