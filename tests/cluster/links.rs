//! What passes between nodes: compressed or not, on several links, counted on both sides.

use std::time::Duration;

use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);

async fn peer(fleet: &Fleet, at: &str, of: &str) -> Value {
    let (_, page) = fleet.core(at).api.get("/v1/peers").await.expect("an answer");
    let peers = page["peers"].as_array().expect("a list").clone();
    let found = peers.into_iter().find(|peer| peer["id"] == of);
    found.unwrap_or_else(|| panic!("{at} knows no peer {of}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_compress_and_nodes_that_do_not_understand_each_other() {
    let fleet = Fleet::assembled("links", &["a", "b"], |plan| {
        plan.extra = match plan.id.as_str() {
            "a" => "\n[replication]\ncompress = \"zstd\"\nlinks = 4\n".to_owned(),
            _ => "\n[replication]\nlinks = 1\n".to_owned(),
        };
    })
    .await;
    wait::eventually("all four links", SOON, async || {
        let streams = peer(&fleet, "a", "b").await["streams"].clone();
        if streams == serde_json::json!([true, true, true, true]) {
            Ok(())
        } else {
            Err(streams.to_string())
        }
    })
    .await;
    fleet.fill("a", "A", 200, 2000).await;
    fleet.fill("b", "B", 200, 2000).await;
    assert_eq!(fleet.set("a", "last", "v", &"x".repeat(2000), "all").await, 2);
    assert_eq!(fleet.set("b", "last", "w", &"x".repeat(2000), "all").await, 2);
    fleet.agree(SOON).await;

    let bytes = |peer: &Value, way: &str, kind: &str| peer[way][kind].as_u64().expect("a number");
    let (at_a, at_b) = (peer(&fleet, "a", "b").await, peer(&fleet, "b", "a").await);
    assert!(bytes(&at_a, "sent", "bytes") > 400_000, "{at_a}");
    assert!(
        bytes(&at_a, "sent", "wire_bytes") * 4 < bytes(&at_a, "sent", "bytes"),
        "{at_a}"
    );
    assert!(
        bytes(&at_b, "sent", "wire_bytes") > bytes(&at_b, "sent", "bytes"),
        "b does not compress: {at_b}"
    );
    assert!(bytes(&at_b, "received", "bytes") > 400_000, "{at_b}");
    assert!(at_a["ack_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{at_a}");
    assert_eq!(at_a["reconnects"], 0);
    assert!(
        fleet
            .metric("a", "limpet_peer_sent_messages_total", "peer=\"b\"")
            .await
            > 0
    );
    assert!(
        fleet
            .metric("b", "limpet_peer_received_wire_bytes_total", "peer=\"a\"")
            .await
            > 0
    );

    for id in ["a", "b"] {
        let answer = fleet
            .core(id)
            .api
            .call("POST", "/v1/selfcheck", b"")
            .await
            .expect("an answer");
        let check: Value = serde_json::from_str(&answer.text()).expect("JSON");
        assert_eq!(check["equal"], true, "{check}");
        assert!(
            check["records"].as_u64().is_some_and(|records| records >= 401),
            "{check}"
        );
    }
}
