//! Renames beside changes of the same session elsewhere: whatever is answered 200 is there under the new id on every node,
//! and the old id finds nothing.

use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::APP;
use serde_json::{Value, json};

const ALL: [&str; 3] = ["a", "b", "c"];
/// How many sessions are renamed while they change.
const TRIES: usize = 120;
/// Silence is found, links come back and tables are compared in less.
const HEALED: Duration = Duration::from_secs(20);

/// Finds silence in a second rather than three.
fn watchful(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
    node.extra = "\n[replication]\nack_timeout = \"500ms\"\n".to_owned();
}

/// A call of a session at a node that is answered 200: its answer.
async fn call(fleet: &Fleet, at: &str, method: &str, path: &str, body: &Value) -> Value {
    let path = format!("/v1/sessions/{APP}/{path}");
    let answer = fleet
        .core(at)
        .api
        .call(method, &path, body.to_string().as_bytes())
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{method} {path} at {at}: {}", answer.text());
    answer.json()
}

async fn rename(fleet: &Fleet, at: &str, from: &str, to: &str) -> Value {
    let path = format!("{from}/rename?ack=all");
    call(fleet, at, "POST", &path, &json!({ "to": to })).await
}

async fn put_in_cart(fleet: &Fleet, at: &str, id: &str, query: &str) -> Value {
    let change = json!({ "set": { "cart": encoded("shoes") } });
    call(fleet, at, "PATCH", &format!("{id}?ack=all{query}"), &change).await
}

/// Begins a session `from`; its life.
async fn begin(fleet: &Fleet, from: &str) -> String {
    let change = json!({ "set": { "user": encoded("ann") } });
    let answer = call(fleet, "c", "PATCH", &format!("{from}?ack=all"), &change).await;
    assert_eq!(answer["copies"], 3);
    answer["life"].as_str().expect("a life").to_owned()
}

/// The session, whole, is there under the new id on every node, and nothing under the old one.
async fn has_moved(fleet: &Fleet, from: &str, to: &str, life: &str) {
    for at in ALL {
        assert_eq!(fleet.get(at, from).await, None, "{from} at {at}");
        let session = fleet.get(at, to).await;
        let session = session.unwrap_or_else(|| panic!("{to} is not there at {at}"));
        assert_eq!(session["life"], life, "{to} at {at}");
        for (name, value) in [("user", "ann"), ("cart", "shoes")] {
            assert_eq!(
                session["attributes"][name],
                encoded(value),
                "{name} of {to} at {at}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_at_one_node_while_another_one_renames_is_there_under_the_new_id() {
    let fleet = Fleet::assembled("renames", &ALL, watchful).await;
    let mut raced = 0;
    for number in 0..TRIES {
        let (from, to) = (format!("A{number}"), format!("B{number}"));
        let life = begin(&fleet, &from).await;
        // Of a worker that says which life it read, and of one that does not.
        let names_life = number.is_multiple_of(2);
        let query = if names_life {
            format!("&if=life:{life}")
        } else {
            String::new()
        };
        let (renamed, written) = tokio::join!(
            rename(&fleet, "a", &from, &to),
            put_in_cart(&fleet, "b", &from, &query)
        );
        assert_eq!(renamed["life"], *life);
        if written["life"] != *life {
            // It came when its node knew of the rename: the old id was no session's, and is another one's now.
            assert!(!names_life, "{written}");
            for at in ALL {
                wait::until("the other session is there", HEALED, async || {
                    fleet.text(at, &from, "cart").await.is_some()
                })
                .await;
                assert_eq!(fleet.text(at, &to, "cart").await, None, "{to} at {at}");
                assert_eq!(fleet.text(at, &from, "user").await, None, "{from} at {at}");
            }
            continue;
        }
        raced += usize::from(!names_life);
        for at in ALL {
            wait::until("the change has arrived", HEALED, async || {
                fleet.text(at, &to, "cart").await.is_some()
            })
            .await;
        }
        has_moved(&fleet, &from, &to, &life).await;
    }
    assert!(raced > 0, "no change came before the rename was known");
    fleet.agree(HEALED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_on_one_side_of_a_cut_while_the_other_one_renames_is_there_under_the_new_id() {
    let fleet = Fleet::assembled("renames-cut", &ALL, watchful).await;
    let ids = |number: usize| (format!("A{number}"), format!("B{number}"));
    let mut lives = Vec::new();
    for number in 0..TRIES {
        lives.push(begin(&fleet, &ids(number).0).await);
    }
    fleet.network().cut(&["a"], &["b", "c"]);
    fleet.sees("a", &["b", "c"], &["down"], HEALED).await;
    fleet.sees("b", &["a"], &["down"], HEALED).await;
    for (number, life) in lives.iter().enumerate() {
        let (from, to) = ids(number);
        let (renamed, written) = tokio::join!(
            rename(&fleet, "a", &from, &to),
            put_in_cart(&fleet, "b", &from, "")
        );
        assert_eq!((&renamed["life"], &renamed["copies"]), (&json!(life), &json!(1)));
        assert_eq!((&written["life"], &written["copies"]), (&json!(life), &json!(2)));
    }
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, TRIES as u64);
    for (number, life) in lives.iter().enumerate() {
        let (from, to) = ids(number);
        has_moved(&fleet, &from, &to, life).await;
    }
}
