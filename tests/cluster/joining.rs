//! A node that joins disturbs nobody: changes go on, and none of them waits for an acknowledgement that got lost.

use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::cluster::Site;
use serde_json::json;

/// Far more than an acknowledgement takes, far less than `ack_timeout`.
const PROMPT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_arrive_while_a_node_joins_leaves_and_joins_again() {
    let site = Site::new("joining", &[], &["a", "b", "c"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    for round in 0..5 {
        let mut c = site.start_core("c");
        let mut number = 0;
        let mut after_ready = 0;
        while after_ready < 50 {
            for core in [&a, &b] {
                let change = json!({ "set": { "x": encoded("1") } });
                let start = Instant::now();
                let answer = core
                    .api
                    .patch("default", &format!("S{number}"), "all", &change)
                    .await;
                let waited = start.elapsed();
                let copies = answer.expect("an answer")["copies"].as_u64().unwrap_or(0);
                assert!(
                    waited < PROMPT,
                    "round {round}: {} waited {waited:?} for {copies} copies",
                    core.node.id
                );
                assert!(
                    copies >= 2,
                    "round {round}: {} counted {copies} copies",
                    core.node.id
                );
                number += 1;
            }
            after_ready += usize::from(c.readiness().await.is_ok());
        }
        assert!(c.process.runs());
        c.process.kill();
    }
}
