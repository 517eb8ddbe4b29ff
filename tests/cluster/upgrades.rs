//! Upgrades: every node is stopped and started again, one after the other, while applications work.

use std::collections::BTreeSet;
use std::time::Duration;

use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::{self, APP, Plan, Writer};
use serde_json::Value;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f26_rolling_restarts_under_load_lose_no_session_and_fail_no_operation() {
    let mut fleet = Fleet::assembled("f26", &ALL, |_| ()).await;
    fleet.fill("a", "S", 1000, 300).await;
    fleet.agree(SOON).await;
    let writers: Vec<_> = (0..ALL.len())
        .map(|at| {
            let mut nodes = ALL;
            nodes.rotate_left(at);
            let plan = Plan {
                prefix: format!("counter-{}-", ALL[at]),
                sessions: 20,
                ack: "one",
                rest: Duration::from_millis(5),
            };
            Writer::start(plan, nodes.iter().map(|id| fleet.address(id)).collect())
        })
        .collect();
    for _ in 0..3 {
        for id in ALL {
            fleet.stop(id, SOON).await;
            fleet.start(id, SOON).await;
            for writer in &writers {
                let held = writers::holds_all(&fleet.core(id).api, &writer.steps()).await;
                if held.is_err() {
                    // What was acknowledged while this was asked may still be on its way here.
                    let steps = writer.steps();
                    wait::eventually(&format!("{id} has what was acknowledged"), SOON, async || {
                        writers::holds_all(&fleet.core(id).api, &steps).await
                    })
                    .await;
                }
            }
        }
    }
    let mut steps = Vec::new();
    for writer in writers {
        let written = writer.finish().await;
        assert!(written.failures.is_empty(), "{:?}", written.failures);
        steps.push(written.steps);
    }
    fleet.see_each_other(SOON).await;
    assert_eq!(fleet.agree(SOON).await, 1000 + 100);
    for core in fleet.running() {
        for steps in &steps {
            let held = writers::holds_all(&core.api, steps).await;
            held.unwrap_or_else(|e| panic!("{}: {e}", core.node.id));
        }
    }
}

/// A table nobody changes is the same, to the last bit, after every node was stopped and started, several times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f26_a_table_at_rest_is_identical_after_every_node_was_restarted() {
    let mut fleet = Fleet::assembled("f26-rest", &["a", "b", "c"], |_| ()).await;
    fleet.fill("a", "S", 500, 300).await;
    fleet.agree(SOON).await;
    for number in 0..100 {
        fleet.set("b", &format!("S{number}"), "y", "2", "none").await;
        fleet.end("c", &format!("S{}", 400 + number)).await;
    }
    assert_eq!(fleet.agree(SOON).await, 400);
    let before = fleet.core("a").api.list(APP).await.expect("a list");
    for _ in 0..4 {
        for id in ["a", "b", "c"] {
            fleet.stop(id, SOON).await;
            fleet.start(id, SOON).await;
            assert_eq!(fleet.agree(SOON).await, 400);
        }
    }
    let after = fleet.core("a").api.list(APP).await.expect("a list");
    let told = |sessions: &[Value]| {
        let facts = sessions.iter().map(|one| {
            let fact = |name: &str| one[name].to_string();
            [
                fact("id"),
                fact("version"),
                fact("size"),
                fact("created_ms"),
                fact("max_inactive_ms"),
            ]
        });
        facts.collect::<BTreeSet<_>>()
    };
    assert_eq!(told(&before).len(), 400);
    assert_eq!(told(&before), told(&after));
}
