//! Cuts: whatever the network does to five nodes, nothing is lost, nothing comes back, and nobody has to help.

use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use serde_json::{Value, json};

const APP: &str = "default";
const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Silence is found, links come back and tables are compared in less.
const HEALED: Duration = Duration::from_secs(20);

/// Finds silence in a second rather than three.
fn watchful(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
    node.extra = "\n[replication]\nack_timeout = \"500ms\"\n".to_owned();
}

async fn set(fleet: &Fleet, at: &str, id: &str, name: &str, value: &str, ack: &str) -> u64 {
    let change = json!({ "set": { name: encoded(value) } });
    let answer = fleet.core(at).api.patch(APP, id, ack, &change).await;
    let answer = answer.unwrap_or_else(|e| panic!("{at} does not take {id}: {e}"));
    answer["copies"].as_u64().expect("copies")
}

async fn end(fleet: &Fleet, at: &str, id: &str) {
    let path = format!("/v1/sessions/{APP}/{id}");
    let answer = fleet.core(at).api.call("DELETE", &path, b"").await;
    let answer = answer.expect("an answer");
    assert!((200..300).contains(&answer.status), "{}", answer.text());
}

async fn get(fleet: &Fleet, at: &str, id: &str) -> Option<Value> {
    let session = fleet.core(at).api.session(APP, id).await;
    session.unwrap_or_else(|e| panic!("{at} does not answer for {id}: {e}"))
}

fn text(session: &Option<Value>, name: &str) -> Option<String> {
    let bytes = attribute(session.as_ref()?, name)?;
    String::from_utf8(bytes).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_cut_loses_nothing_and_brings_nothing_back() {
    let fleet = Fleet::assembled("f01", &ALL, watchful).await;
    let (left, right) = (["a", "b"], ["c", "d", "e"]);
    for number in 0..10 {
        for kind in ["both", "same", "gone-left", "gone-right", "fought"] {
            assert_eq!(
                set(&fleet, "a", &format!("{kind}{number}"), "x", "old", "all").await,
                5
            );
        }
    }

    fleet.network().cut(&left, &right);
    for number in 0..10 {
        let copies = set(&fleet, "b", &format!("new-left{number}"), "x", "left", "one").await;
        assert!(copies <= 2, "{copies} copies on a side of two");
        let copies = set(&fleet, "d", &format!("new-right{number}"), "x", "right", "quorum").await;
        assert!(copies <= 3, "{copies} copies on a side of three");
        set(&fleet, "a", &format!("both{number}"), "left", "1", "none").await;
        set(&fleet, "e", &format!("both{number}"), "right", "1", "none").await;
        set(&fleet, "a", &format!("same{number}"), "x", "left", "none").await;
        set(&fleet, "c", &format!("same{number}"), "x", "right", "none").await;
        end(&fleet, "b", &format!("gone-left{number}")).await;
        end(&fleet, "d", &format!("gone-right{number}")).await;
        end(&fleet, "a", &format!("fought{number}")).await;
        set(&fleet, "c", &format!("fought{number}"), "x", "new", "none").await;
    }
    fleet.sees("a", &right, &["down"], HEALED).await;
    fleet.sees("c", &left, &["down"], HEALED).await;
    assert!(set(&fleet, "a", "both0", "left", "1", "all").await <= 2);
    assert!(get(&fleet, "c", "new-left0").await.is_none(), "the cut is one");

    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 40);
    for at in ALL {
        for number in 0..10 {
            let session = |kind: &str| format!("{kind}{number}");
            let of = async |kind: &str, name: &str| text(&get(&fleet, at, &session(kind)).await, name);
            assert_eq!(of("new-left", "x").await.as_deref(), Some("left"), "{at}");
            assert_eq!(of("new-right", "x").await.as_deref(), Some("right"), "{at}");
            assert_eq!(of("both", "x").await.as_deref(), Some("old"), "{at}");
            assert_eq!(of("both", "left").await.as_deref(), Some("1"), "{at}");
            assert_eq!(of("both", "right").await.as_deref(), Some("1"), "{at}");
            assert!(
                of("same", "x").await.is_some_and(|x| x == "left" || x == "right"),
                "{at}"
            );
            for kind in ["gone-left", "gone-right", "fought"] {
                assert_eq!(
                    get(&fleet, at, &session(kind)).await,
                    None,
                    "{kind} came back at {at}"
                );
            }
        }
    }
}

/// A bridge: `c` hears both sides, who do not hear each other. What the sides write reaches everybody over `c`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_over_a_bridge_tables_become_equal_before_it_heals() {
    let fleet = Fleet::assembled("f01-bridge", &ALL, watchful).await;
    let (left, right) = (["a", "b"], ["d", "e"]);
    for number in 0..10 {
        set(&fleet, "a", &format!("old{number}"), "x", "old", "all").await;
    }
    fleet.network().cut(&left, &right);
    for number in 0..10 {
        set(&fleet, "a", &format!("left{number}"), "x", "left", "none").await;
        set(&fleet, "e", &format!("right{number}"), "x", "right", "none").await;
        end(&fleet, "b", &format!("old{number}")).await;
    }
    assert_eq!(fleet.agree(HEALED).await, 20);
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 20);
    for at in ALL {
        assert_eq!(
            text(&get(&fleet, at, "left9").await, "x").as_deref(),
            Some("left")
        );
        assert_eq!(
            text(&get(&fleet, at, "right9").await, "x").as_deref(),
            Some("right")
        );
        assert_eq!(get(&fleet, at, "old9").await, None, "old9 came back at {at}");
    }
}

/// One direction only: what `a` says to `b` and `c` is lost, what they say to it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_one_way_cut_loses_nothing_and_no_copy_is_counted_that_is_not_there() {
    let fleet = Fleet::assembled("f01-oneway", &ALL, watchful).await;
    set(&fleet, "a", "S", "x", "old", "all").await;
    fleet.network().silence(&["a"], &["b", "c"]);
    let mut promised = Vec::new();
    for number in 0..5 {
        let id = format!("S{number}");
        promised.push((id.clone(), set(&fleet, "a", &id, "x", "new", "all").await));
        set(&fleet, "b", "S", &format!("b{number}"), "new", "none").await;
        set(&fleet, "a", "S", &format!("a{number}"), "new", "none").await;
    }
    for (id, copies) in promised {
        let mut holders = 0;
        for at in ALL {
            holders += u64::from(get(&fleet, at, &id).await.is_some());
        }
        assert!(
            holders >= copies,
            "{copies} copies of {id} were promised, {holders} are there"
        );
    }
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 6);
    for at in ALL {
        let session = get(&fleet, at, "S").await.expect("S");
        let held = session["attributes"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(held, 11, "{at} has {session}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_nodes_that_all_gave_each_other_up_come_together_by_themselves() {
    let fleet = Fleet::assembled("f12", &ALL, watchful).await;
    for (index, id) in ALL.iter().enumerate() {
        fleet.network().cut(&[id], &ALL[index + 1..]);
    }
    for id in ALL {
        fleet.sees(id, &ALL, &["down"], HEALED).await;
        set(&fleet, id, &format!("alone-{id}"), "x", id, "none").await;
    }
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 5);
    assert_eq!(set(&fleet, "a", "after", "x", "1", "all").await, 5);
}

/// A cable that is pulled: the node itself sees its link go, the others have no route to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_node_whose_cable_was_pulled_is_back_once_it_is_in_again() {
    let fleet = Fleet::assembled("f12-cable", &ALL, watchful).await;
    fleet.network().unplug("e");
    fleet.sees("a", &["e"], &["down"], HEALED).await;
    fleet.sees("e", &ALL, &["down"], HEALED).await;
    set(&fleet, "a", "meanwhile", "x", "1", "all").await;
    set(&fleet, "e", "elsewhere", "x", "1", "none").await;
    fleet.network().plug("e");
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 2);
}
