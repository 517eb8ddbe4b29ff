//! Cuts: whatever the network does to five nodes, nothing is lost, nothing comes back, and nobody has to help.

use std::time::Duration;

use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
/// FailureDetector is found, links come back and tables are compared in less.
const HEALED: Duration = Duration::from_secs(20);

/// Finds silence in a second rather than three.
fn watchful(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
    node.extra = "\n[replication]\nack_timeout = \"500ms\"\n".to_owned();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_cut_loses_nothing_and_brings_nothing_back() {
    let fleet = Fleet::assembled("f01", &ALL, watchful).await;
    let (left, right) = (["a", "b"], ["c", "d", "e"]);
    for number in 0..10 {
        for kind in ["both", "same", "gone-left", "gone-right", "fought"] {
            assert_eq!(
                fleet
                    .set("a", &format!("{kind}{number}"), "x", "old", "all")
                    .await,
                5
            );
        }
    }

    fleet.network().cut(&left, &right);
    for number in 0..10 {
        let copies = fleet
            .set("b", &format!("new-left{number}"), "x", "left", "one")
            .await;
        assert!(copies <= 2, "{copies} copies on a side of two");
        let copies = fleet
            .set("d", &format!("new-right{number}"), "x", "right", "quorum")
            .await;
        assert!(copies <= 3, "{copies} copies on a side of three");
        fleet
            .set("a", &format!("both{number}"), "left", "1", "none")
            .await;
        fleet
            .set("e", &format!("both{number}"), "right", "1", "none")
            .await;
        fleet
            .set("a", &format!("same{number}"), "x", "left", "none")
            .await;
        fleet
            .set("c", &format!("same{number}"), "x", "right", "none")
            .await;
        fleet.end("b", &format!("gone-left{number}")).await;
        fleet.end("d", &format!("gone-right{number}")).await;
        fleet.end("a", &format!("fought{number}")).await;
        fleet
            .set("c", &format!("fought{number}"), "x", "new", "none")
            .await;
    }
    fleet.sees("a", &right, &["down"], HEALED).await;
    fleet.sees("c", &left, &["down"], HEALED).await;
    assert!(fleet.set("a", "both0", "left", "1", "all").await <= 2);
    assert!(fleet.get("c", "new-left0").await.is_none(), "the cut is one");

    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 40);
    for at in ALL {
        for number in 0..10 {
            let session = |kind: &str| format!("{kind}{number}");
            let of = async |kind: &str, name: &str| fleet.text(at, &session(kind), name).await;
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
                    fleet.get(at, &session(kind)).await,
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
        fleet.set("a", &format!("old{number}"), "x", "old", "all").await;
    }
    fleet.network().cut(&left, &right);
    for number in 0..10 {
        fleet
            .set("a", &format!("left{number}"), "x", "left", "none")
            .await;
        fleet
            .set("e", &format!("right{number}"), "x", "right", "none")
            .await;
        fleet.end("b", &format!("old{number}")).await;
    }
    assert_eq!(fleet.agree(HEALED).await, 20);
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 20);
    for at in ALL {
        assert_eq!(fleet.text(at, "left9", "x").await.as_deref(), Some("left"));
        assert_eq!(fleet.text(at, "right9", "x").await.as_deref(), Some("right"));
        assert_eq!(fleet.get(at, "old9").await, None, "old9 came back at {at}");
    }
}

/// One direction only: what `a` says to `b` and `c` is lost, what they say to it arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_one_way_cut_loses_nothing_and_no_copy_is_counted_that_is_not_there() {
    let fleet = Fleet::assembled("f01-oneway", &ALL, watchful).await;
    fleet.set("a", "S", "x", "old", "all").await;
    fleet.network().silence(&["a"], &["b", "c"]);
    let mut promised = Vec::new();
    for number in 0..5 {
        let id = format!("S{number}");
        promised.push((id.clone(), fleet.set("a", &id, "x", "new", "all").await));
        fleet.set("b", "S", &format!("b{number}"), "new", "none").await;
        fleet.set("a", "S", &format!("a{number}"), "new", "none").await;
    }
    for (id, copies) in promised {
        let mut holders = 0;
        for at in ALL {
            holders += u64::from(fleet.get(at, &id).await.is_some());
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
        let session = fleet.get(at, "S").await.expect("S");
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
        fleet.set(id, &format!("alone-{id}"), "x", id, "none").await;
    }
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 5);
    assert_eq!(fleet.set("a", "after", "x", "1", "all").await, 5);
}

/// A cable that is pulled: the node itself sees its link go, the others have no route to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_node_whose_cable_was_pulled_is_back_once_it_is_in_again() {
    let fleet = Fleet::assembled("f12-cable", &ALL, watchful).await;
    fleet.network().unplug("e");
    fleet.sees("a", &["e"], &["down"], HEALED).await;
    fleet.sees("e", &ALL, &["down"], HEALED).await;
    fleet.set("a", "meanwhile", "x", "1", "all").await;
    fleet.set("e", "elsewhere", "x", "1", "none").await;
    fleet.network().plug("e");
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 2);
}
