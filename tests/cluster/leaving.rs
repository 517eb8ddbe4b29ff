//! Nodes that go: by SIGTERM with a word, by SIGKILL without one.

use std::time::{Duration, Instant};

use limpet_tests::cluster::{Core, Site};
use limpet_tests::{ports, wait};
use serde_json::json;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_ends_every_session_when_it_stops() {
    let mut site = Site::new("end-all", &[], &["a", "b"]);
    site.change("a", |plan| {
        plan.extra = "\n[session]\nexpire_on_shutdown = true\n".into()
    });
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::eventually("both hold S", SOON, async || {
        let answer = a.api.patch("default", "S", "all", &json!({ "set": {} })).await;
        match answer.map_err(|e| e.to_string())? {
            answer if answer["copies"] == 2 => Ok(()),
            answer => Err(answer.to_string()),
        }
    })
    .await;
    let status = a.process.terminate(SOON).await;
    assert!(status.success(), "SIGTERM is a clean end, not {status}");
    wait::until("S ended at b", SOON, async || {
        matches!(b.api.session("default", "S").await, Ok(None))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_passed_over_and_others_are_told_the_next() {
    let mut site = Site::new("autobind", &[], &["a", "b"]);
    site.change("b", |plan| {
        plan.cluster = ports::free_addr();
        plan.listen = "autobind = 4".into();
    });
    let after: Vec<_> = (0..4).map(|_| ports::free()).collect(); // nobody else is given them
    let a = site.core("a").await;
    let planned = site.node("b").cluster.clone();
    let taken = std::net::TcpListener::bind(&planned).expect("nobody listens there yet");
    let b = site.core("b").await;
    wait::until("a knows b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
    let (_, answer) = a.api.get("/v1/members").await.expect("an answer");
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let told = members
        .iter()
        .find(|member| member["id"] == "b")
        .expect("b is a member");
    let port = |text: &str| text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let (told, planned) = (
        told["addr"].as_str().and_then(port),
        port(&planned).expect("a port"),
    );
    assert!(
        told > Some(planned) && told.is_some_and(|told| after.contains(&told)),
        "{told:?}, not {planned}"
    );
    drop((taken, b));
}
