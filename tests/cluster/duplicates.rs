//! Two processes with one name: while both live the later one is refused; once the earlier is gone, however its links
//! look, the later one takes its place.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use limpet_tests::api::Api;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::http::Address;
use limpet_tests::process::Process;
use limpet_tests::{ports, programs, wait};

const SOON: Duration = Duration::from_secs(10);

/// Another process that calls itself `b`, at addresses of its own.
fn duplicate_of_b(site: &Site) -> (Process, Api, String) {
    let (cluster, api) = (ports::free_addr(), ports::free_addr());
    let b = site.node("b");
    let text = site
        .toml("b")
        .replace(&b.cluster, &cluster)
        .replace(&b.api, &api)
        .replace("b.sock", "duplicate.sock");
    let file = site.scratch.join("duplicate.toml");
    fs::write(&file, text).expect("a configuration in the test's directory");
    let process = Process::start(
        "core-duplicate",
        site.scratch.path(),
        Command::new(programs::ours("limpet-core"))
            .args(["run", "--config"])
            .arg(&file),
    );
    (process, Api::new(Address::Tcp(api)), cluster)
}

async fn address_of_b(a: &Core) -> String {
    let (_, answer) = a.api.get("/v1/members").await.expect("an answer");
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let b = members.iter().find(|member| member["id"] == "b");
    b.map_or_else(String::new, |b| format!("{} {}", b["addr"], b["state"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_later_of_two_living_is_refused_and_takes_over_once_the_earlier_stands_still() {
    let site = Site::new("duplicates", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::until("a sees b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
    let (duplicate, api, cluster) = duplicate_of_b(&site);

    wait::eventually("the duplicate says why it is not ready", SOON, async || {
        let answer = api.call("GET", "/readyz", b"").await.map_err(|e| e.to_string())?;
        let text = answer.text();
        let says = answer.status == 503 && text.contains("alive at") && text.contains(&b.node.cluster);
        if says {
            Ok(())
        } else {
            Err(format!("{} {text}", answer.status))
        }
    })
    .await;
    let (_, members) = api.get("/v1/members").await.expect("an answer");
    assert!(members.to_string().contains("alive at"), "{members}");
    let loud = |log: String| {
        log.lines()
            .any(|line| line.contains("ERROR") && line.contains("two nodes"))
    };
    assert!(loud(duplicate.log()), "{}", duplicate.tail());
    wait::until("a says so too", SOON, async || loud(a.process.log())).await;
    let metrics = a
        .api
        .call("GET", "/metrics", b"")
        .await
        .expect("an answer")
        .text();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("limpet_duplicate_id_refused_total "));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{counted:?}");
    assert!(
        address_of_b(&a).await.contains(&b.node.cluster),
        "b is a member as before"
    );
    assert_eq!(b.readiness().await, Ok(()));

    // Its kernel still answers, its links look up, but the process does nothing any more.
    b.process.freeze().await;
    let start = Instant::now();
    wait::until("a knows b at its new address", SOON, async || {
        let known = address_of_b(&a).await;
        known.contains(&cluster) && known.contains("ready")
    })
    .await;
    println!("replaced after {:?}", start.elapsed());
    let answer = api.call("GET", "/readyz", b"").await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_comes_back_at_another_address_replaces_its_old_self_at_once() {
    let site = Site::new("moved", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::until("a sees b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
    b.process.kill();
    let (_duplicate, _api, cluster) = duplicate_of_b(&site);
    let start = Instant::now();
    wait::until(
        "a knows b at its new address",
        Duration::from_secs(3),
        async || {
            let known = address_of_b(&a).await;
            known.contains(&cluster) && known.contains("ready")
        },
    )
    .await;
    println!("back after {:?}", start.elapsed());
}
