//! Certificates that are replaced, and certificates that end, while a cluster is at work.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use limpet_tests::api::{Api, encoded};
use limpet_tests::cluster::{Core, Site};
use limpet_tests::http::Address;
use limpet_tests::pki::Pki;
use limpet_tests::tls::Identity;
use limpet_tests::wait;
use rustix::process::Signal;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
const NODES: [&str; 3] = ["a", "b", "c"];

/// Three nodes that make links again within a second after new certificates were loaded.
async fn three(name: &str) -> (Site, Vec<Core>) {
    let mut site = Site::new(name, &[], &NODES);
    for node in NODES {
        site.change(node, |plan| plan.tls = "reauthenticate = \"1s\"".into());
    }
    let mut cores = Vec::new();
    for node in NODES {
        cores.push(site.core(node).await);
    }
    all_linked(&cores).await;
    (site, cores)
}

async fn all_linked(cores: &[Core]) {
    for core in cores {
        for other in NODES {
            wait::eventually(
                &format!("{} sees {other}", core.node.id),
                SOON,
                async || match core.state_of(other).await.as_deref() {
                    Some("ready") => Ok(()),
                    state => Err(format!("{state:?}")),
                },
            )
            .await;
        }
    }
}

/// Sends SIGHUP to every node and waits until each has made each of its links again.
async fn reload_all(cores: &[Core]) {
    let count = |core: &Core| core.process.log().matches(" link up ").count();
    let before: Vec<_> = cores.iter().map(count).collect();
    for core in cores {
        core.process.signal(Signal::HUP);
    }
    for (core, before) in cores.iter().zip(before) {
        wait::until(
            &format!("{} made its links again", core.node.id),
            SOON,
            async || count(core) >= before + NODES.len() - 1,
        )
        .await;
    }
    // Links are closed from both sides, the last of them within `tls.reauthenticate`: that long has to pass.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    all_linked(cores).await;
}

/// Writes through one node for as long as `go_on`, waiting for all copies; every answer that was not as it must be.
async fn write(api: Api, go_on: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut writes, mut wrong) = (0, Vec::new());
    while go_on.load(Ordering::Relaxed) {
        let change = json!({"set": {"n": encoded(writes.to_string())}});
        match api
            .patch("default", &format!("S{}", writes % 50), "all", &change)
            .await
        {
            Ok(answer) if answer["copies"] == 3 => {}
            Ok(answer) => wrong.push(answer.to_string()),
            Err(error) => wrong.push(error.to_string()),
        }
        writes += 1;
    }
    (writes, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_certificates_and_then_the_ca_are_replaced_and_nobody_notices() {
    let (site, cores) = three("rotation").await;
    let go_on = Arc::new(AtomicBool::new(true));
    let writers: Vec<_> = cores
        .iter()
        .map(|core| {
            let api = Api::new(Address::Tcp(core.node.api.clone()));
            tokio::spawn(write(api, go_on.clone()))
        })
        .collect();

    NODES.iter().for_each(|node| site.pki.reissue(node));
    reload_all(&cores).await;

    // Another CA: first both are trusted everywhere, then certificates of the new one, then only it.
    let folder = site.scratch.join("next-ca");
    fs::create_dir(&folder).expect("a folder in the test's directory");
    let next = Pki::init(&folder, &site.name);
    let both = format!("{}{}", site.pki.read("ca.pem"), next.read("ca.pem"));
    site.pki.write("ca.pem", &both);
    reload_all(&cores).await;
    for node in NODES {
        next.issue(node);
        site.pki
            .write(&format!("{node}.pem"), &next.read(&format!("{node}.pem")));
        site.pki
            .write(&format!("{node}.key"), &next.read(&format!("{node}.key")));
    }
    reload_all(&cores).await;
    site.pki.write("ca.pem", &next.read("ca.pem"));
    reload_all(&cores).await;

    // Half a file changes nothing.
    let whole = next.read("a.pem");
    site.pki.write("a.pem", &whole[..whole.len() / 2]);
    cores[0].process.signal(Signal::HUP);
    wait::until("a says that it did not load it", SOON, async || {
        cores[0].process.log().contains("everything stays as it was")
    })
    .await;

    go_on.store(false, Ordering::Relaxed);
    for writer in writers {
        let (writes, wrong) = writer.await.expect("a writer ends");
        assert!(
            wrong.is_empty(),
            "{} of {writes}: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        println!("{writes} writes while certificates were replaced");
    }
    for core in &cores {
        let log = core.process.log();
        assert!(!log.contains("member down"), "{} gave somebody up", core.node.id);
        assert!(
            !log.contains("no link"),
            "{} could not make a link again",
            core.node.id
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_a_node_whose_certificate_ends_is_cut_off_and_comes_back_with_a_new_one() {
    let site = Site::new("expired", &[], &["a", "b"]);
    let (a, uri) = (site.core("a").await, format!("limpet://{}/node/b", site.name));
    let end = SystemTime::now() + Duration::from_secs(6);
    let short = Identity::ending(&site.pki, &uri, end);
    site.pki.write("b.pem", &short.cert);
    site.pki.write("b.key", &short.key);
    let b = site.core("b").await;
    wait::until("a sees b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
    assert!(SystemTime::now() < end, "it took too long to start");

    wait::until("a does not hear b any more", 3 * SOON, async || {
        matches!(a.state_of("b").await.as_deref(), Some("down" | "suspect"))
    })
    .await;
    assert!(
        SystemTime::now() >= end - Duration::from_secs(1),
        "cut off before its time"
    );
    assert!(a.process.log().contains("expired"), "{}", a.process.log());

    site.pki.reissue("b");
    b.process.signal(Signal::HUP);
    wait::until("a hears b again", 2 * SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
}
