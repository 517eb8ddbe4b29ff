//! Is `/readyz` honest? Every node is asked, then asked for a session that nobody has, then whether it is ready again:
//! a ready node has to answer, one that joins must not.

use std::sync::Arc;
use std::time::Duration;

use limpet_tests::writers::APP;
use serde_json::Value;

use crate::caller::{self, Answer};
use crate::ledger::Broken;
use crate::world::{World, node_name};

/// How often every node is asked.
const STEP: Duration = Duration::from_millis(500);

/// Watches a node until everybody is to end.
pub async fn watch(world: Arc<World>, node: usize) {
    while !world.is_stopped() {
        {
            let _open = world.gate.read().await;
            look(&world, node).await;
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn look(world: &World, node: usize) {
    let Some(to) = world.nodes.get(node) else { return };
    let instance = world.ledger().weather.instance(node);
    let before = caller::call(world, to, "GET", "/readyz", &Value::Null).await;
    let path = format!("/v1/sessions/{APP}/nobody");
    let answer = caller::call(world, to, "GET", &path, &Value::Null).await;
    let after = caller::call(world, to, "GET", "/readyz", &Value::Null).await;
    if world.ledger().weather.instance(node) != instance {
        return; // it ended meanwhile, and may have begun anew
    }
    let result = honest(&before, &answer, &after).map_err(|what| Broken { claim: "C8", what });
    world.judge(None, node_name(node), result);
}

/// What two answers of `/readyz` say of the answer between them.
fn honest(before: &Answer, answer: &Answer, after: &Answer) -> Result<(), String> {
    let told =
        || format!("/readyz says {before}, then {after}; between them a session that nobody has: {answer}");
    let Answer::Http(status, body) = answer else {
        return Ok(());
    };
    let not_ready = *status == 503 && body["error"] == "not_ready";
    match (before.status(), after.status()) {
        (200, 200) if not_ready => Err(told()),
        // A node whose clock is wrong says so, and serves; one that leaves serves to its end.
        (503, 503) if *status == 404 && [before, after].iter().all(|answer| joins(answer)) => Err(told()),
        _ => Ok(()),
    }
}

fn joins(answer: &Answer) -> bool {
    let text = answer.to_string();
    !text.contains("clock") && !text.contains("leav") && !text.contains("live node")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Answer, honest};

    #[test]
    fn a_node_that_says_it_is_ready_answers_and_one_that_joins_does_not() {
        let ready = Answer::Http(200, json!("ready"));
        let joining = Answer::Http(
            503,
            json!({ "error": "not_ready", "message": "looking for members" }),
        );
        let wrong = Answer::Http(
            503,
            json!({ "error": "not_ready", "message": "the clock is wrong" }),
        );
        let none = Answer::Http(404, json!({ "error": "not_found" }));
        let unreachable = Answer::Http(503, json!({ "error": "unreachable" }));
        let cases = [
            (&ready, &none, &ready, true),
            (&ready, &unreachable, &ready, true),
            (&ready, &joining, &ready, false),
            (&joining, &joining, &ready, true),
            (&joining, &joining, &joining, true),
            (&joining, &none, &joining, false),
            (&joining, &none, &ready, true),
            (&wrong, &none, &wrong, true),
            (&ready, &Answer::TimedOut, &ready, true),
        ];
        for (before, answer, after, fine) in cases {
            assert_eq!(
                honest(before, answer, after).is_ok(),
                fine,
                "{before} / {answer} / {after}"
            );
        }
    }
}
