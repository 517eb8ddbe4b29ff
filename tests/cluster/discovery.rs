//! Nodes that were told of nobody and find each other: by hints, and by a name.

use std::net::UdpSocket;
use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::{ports, wait};
use serde_json::json;

const SOON: Duration = Duration::from_secs(15);

async fn sees(core: &Core, others: &[&str]) {
    for other in others {
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

/// A group on loopback that no other test uses.
fn group() -> String {
    let addr = ports::free_addr();
    let port = addr.rsplit(':').next().expect("a port");
    format!("228.0.0.4:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_bring_nodes_together_and_strangers_on_the_same_group_change_nothing() {
    let group = group();
    let hints = format!(
        "\n[membership.multicast]\naddress = \"{group}\"\ninterface = \"127.0.0.1\"\nfrequency = \"100ms\"\n"
    );
    let planned = |name: &str, ids: &[&str]| {
        let mut site = Site::new(name, &[], ids);
        for id in ids {
            site.change(id, |plan| {
                plan.seeded = false;
                plan.extra.clone_from(&hints);
            });
        }
        site
    };
    let (site, strangers) = (planned("hints", &["a", "b", "c"]), planned("others", &["a", "x"]));
    // Two begin at the same time, and listen first: neither is the only one.
    let (mut a, mut b) = (site.start_core("a"), site.start_core("b"));
    let (mut sa, mut x) = (strangers.start_core("a"), strangers.start_core("x"));
    for core in [&mut a, &mut b, &mut sa, &mut x] {
        core.ready(SOON).await;
    }
    sees(&a, &["b"]).await;
    sees(&sa, &["x"]).await;
    let noise = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for length in [0, 1, 100, 9000] {
        let _ = noise.send_to(&vec![b'l'; length], &group); // whether it arrives or not
    }

    let change = json!({"set": {"v": encoded("1")}});
    let written = a
        .api
        .patch("default", "S", "all", &change)
        .await
        .expect("written");
    assert_eq!(written["copies"], 2);
    let c = site.core("c").await;
    assert!(
        c.api.session("default", "S").await.expect("an answer").is_some(),
        "it found who has the table"
    );
    sees(&c, &["a", "b"]).await;
    for core in [&a, &b, &c] {
        assert_eq!(core.state_of("x").await, None);
        assert!(!core.process.log().contains("WARN"), "{}", core.process.tail());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_resolved_again_until_somebody_is_there_and_one_that_is_gone_loses_nobody() {
    let mut site = Site::new("names", &[], &["a", "b"]);
    let there = site.node("a").cluster.replace("127.0.0.1", "localhost");
    site.change("a", |plan| plan.seeded = false);
    site.change("b", |plan| {
        plan.seeded = false;
        plan.membership = format!("dns = \"{there}\"\ndns_interval = \"1s\"");
    });
    let b = site.core("b").await; // nobody listens there: it is the first
    let a = site.core("a").await;
    sees(&b, &["a"]).await;
    sees(&a, &["b"]).await;
    drop((a, b));

    site.change("b", |plan| {
        plan.seeded = true;
        plan.membership = "dns = \"nobody.invalid:4000\"\ndns_interval = \"1s\"".into();
    });
    site.change("b", |plan| {
        plan.extra = "\n[replication]\nstate_transfer_timeout = \"1s\"\n".into()
    });
    let (a, b) = (site.core("a").await, site.core("b").await);
    sees(&b, &["a"]).await;
    sees(&a, &["b"]).await;
    assert!(b.process.log().contains("membership.dns does not resolve"));
}
