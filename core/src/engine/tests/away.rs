//! Nodes that were away for longer than tombstones live: which of them begin again, and that no deleted session returns.

use super::*;

fn cluster(names: &[&str]) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(60);
    cluster.begin(names)
}

fn delete(cluster: &mut Cluster, at: &str, id: &str) {
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(at)).unwrap();
    engine.delete(&key(id), now).unwrap();
}

fn began_again(cluster: &Cluster, at: &str) -> u64 {
    cluster.engines[&node(at)].counters().started_over
}

#[test]
fn a_session_whose_tombstone_is_forgotten_does_not_return_with_a_node_that_missed_it() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.patch("a", "kept", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["c"], &["a", "b"]);
    cluster.run(Duration::from_secs(10));
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(120));
    assert_eq!(
        cluster.engines[&node("a")].table().tombstones(),
        0,
        "the tombstone is forgotten"
    );
    assert!(cluster.value("c", "gone", "v").is_some(), "as far as c knows");
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.engines[&node(at)].phase(), &Phase::Ready, "{at}");
        assert_eq!(began_again(&cluster, at), u64::from(at == "c"), "{at}");
    }
    cluster.assert_converged();
    cluster.patch("c", "later", set("v", "1"));
    cluster.settle();
    assert_eq!(cluster.value("a", "later", "v").as_deref(), Some("1"));
}

#[test]
fn a_process_that_stood_still_for_too_long_takes_the_table_anew() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.patch("a", "kept", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["c"], &["a", "b"]);
    let stopped = cluster.engines.remove(&node("c")).unwrap();
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(130));
    cluster.engines.insert(node("c"), stopped);
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn without_a_forgotten_tombstone_nobody_begins_again() {
    let mut cluster = cluster(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(300));
    cluster.patch("a", "left", set("v", "1"));
    cluster.patch("b", "right", set("v", "1"));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b"] {
        assert_eq!(began_again(&cluster, at), 0, "{at}");
        for id in ["S1", "left", "right"] {
            assert_eq!(cluster.value(at, id, "v").as_deref(), Some("1"), "{id} at {at}");
        }
    }
}

#[test]
fn when_both_sides_have_forgotten_tombstones_one_of_them_begins_again() {
    let mut cluster = cluster(&["a", "b", "c", "d", "e"]);
    for id in ["left", "right", "kept"] {
        cluster.patch("a", id, set("v", "1"));
    }
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a", "b"], &["c", "d", "e"]);
    cluster.run(Duration::from_secs(10));
    delete(&mut cluster, "a", "left");
    delete(&mut cluster, "c", "right");
    cluster.run(Duration::from_secs(150));
    cluster.heal();
    cluster.run(Duration::from_secs(30));
    cluster.assert_converged();
    for at in ["a", "b", "c", "d", "e"] {
        assert_eq!(
            cluster.value(at, "right", "v"),
            None,
            "at {at}: the larger side deleted it"
        );
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(
            began_again(&cluster, at),
            u64::from(["a", "b"].contains(&at)),
            "{at}"
        );
    }
}

#[test]
fn a_short_absence_changes_nothing() {
    let mut cluster = cluster(&["a", "b"]);
    cluster.patch("a", "old", set("v", "1"));
    delete(&mut cluster, "a", "old");
    cluster.run(Duration::from_secs(100));
    assert_eq!(cluster.engines[&node("a")].table().tombstones(), 0);
    // The skew that clocks may have is allowed for, so the tombstone must be older than that.
    cluster.run(Duration::from_secs(60));
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(20));
    cluster.patch("b", "right", set("v", "1"));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b"] {
        assert_eq!(began_again(&cluster, at), 0, "{at}");
        assert_eq!(cluster.value(at, "right", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn a_process_that_stood_still_yields_to_everybody() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.patch("c", "gone", set("v", "1"));
    cluster.patch("a", "kept", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    // The tombstone is forgotten by the process that stood still as soon as it goes on, and by nobody else yet.
    delete(&mut cluster, "c", "gone");
    cluster.run(Duration::from_secs(1));
    cluster.part(&["c"], &["a", "b"]);
    let stopped = cluster.engines.remove(&node("c")).unwrap();
    cluster.run(Duration::from_secs(50));
    cluster.engines.insert(node("c"), stopped);
    cluster.heal();
    cluster.run(Duration::from_secs(30));
    assert_eq!(began_again(&cluster, "a") + began_again(&cluster, "b"), 0);
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn listeners_to_events_stay_with_a_node_that_begins_again() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.engines.get_mut(&node("c")).unwrap().listen();
    cluster.part(&["c"], &["a", "b"]);
    cluster.run(Duration::from_secs(10));
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(120));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    assert_eq!(began_again(&cluster, "c"), 1);
    cluster.engines.get_mut(&node("c")).unwrap().take_events();
    cluster.patch("a", "later", set("v", "1"));
    cluster.settle();
    let told = cluster.engines.get_mut(&node("c")).unwrap().take_events();
    assert!(!told.is_empty(), "no event of a session that was created");
}

/// The new process of c has all it knows from b, which was cut off as well.
#[test]
fn a_session_whose_tombstone_is_forgotten_does_not_return_with_a_node_that_began_behind_the_cut() {
    let mut cluster = cluster(&["a", "b", "c"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.patch("a", "kept", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(10));
    delete(&mut cluster, "a", "gone");
    cluster.start("c");
    cluster.run(Duration::from_secs(100));
    assert_eq!(cluster.engines[&node("a")].table().tombstones(), 0);
    assert!(cluster.value("c", "gone", "v").is_some(), "as far as c knows");
    cluster.stop("b");
    cluster.heal();
    cluster.run(Duration::from_secs(30));
    for at in ["a", "c"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
    }
    cluster.assert_converged();
}

/// While it is not ready it sends nobody the tombstones it knows.
#[test]
fn a_joining_node_forgets_no_tombstones() {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(30);
    let mut cluster = cluster.begin(&["a"]);
    cluster.patch("a", "S1", set("v", "1"));
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 0;
    cluster.start("b");
    cluster.run(Duration::from_secs(5));
    delete(&mut cluster, "a", "S1");
    // For a node that joins it is kept for twice its life, and no longer.
    cluster.run(Duration::from_secs(70));
    let tombstones = |cluster: &Cluster, at: &str| cluster.engines[&node(at)].table().tombstones();
    assert_eq!(tombstones(&cluster, "a"), 0);
    assert_eq!(tombstones(&cluster, "b"), 1);
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 2;
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.engines[&node("b")].phase(), &Phase::Ready);
    assert_eq!(tombstones(&cluster, "b"), 1);
    cluster.run(Duration::from_secs(20));
    assert_eq!(tombstones(&cluster, "b"), 0);
}

#[test]
fn of_two_that_both_stood_still_one_takes_the_table_of_the_other() {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(20);
    let mut cluster = cluster.begin(&["a", "b"]);
    for id in ["S1", "kept"] {
        cluster.patch("a", id, set("v", "1"));
    }
    delete(&mut cluster, "a", "S1");
    cluster.run(Duration::from_secs(25));
    cluster.part(&["a"], &["b"]);
    let stopped = std::mem::take(&mut cluster.engines);
    cluster.run(Duration::from_secs(40));
    cluster.engines.extend(stopped);
    cluster.heal();
    cluster.run(Duration::from_secs(30));
    assert_eq!(began_again(&cluster, "a") + began_again(&cluster, "b"), 1);
    for at in ["a", "b"] {
        assert_eq!(cluster.engines[&node(at)].phase(), &Phase::Ready, "{at}");
        assert_eq!(cluster.value(at, "kept", "v").as_deref(), Some("1"), "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn a_session_whose_tombstone_is_forgotten_does_not_return_with_a_node_that_was_cut_off_while_it_joined() {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(20);
    let mut cluster = cluster.begin(&["a"]);
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 0;
    cluster.start("b");
    cluster.run(Duration::from_secs(2));
    cluster.patch("a", "gone", set("v", "1"));
    cluster.settle();
    let held = |cluster: &Cluster| cluster.engines[&node("b")].table().get(&key("gone")).is_some();
    assert!(held(&cluster), "b was told while it joined");
    cluster.part(&["a"], &["b"]);
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(40));
    assert_eq!(cluster.engines[&node("a")].table().tombstones(), 0);
    assert_ne!(cluster.engines[&node("b")].phase(), &Phase::Ready);
    assert!(held(&cluster));
    cluster.heal();
    cluster.run(Duration::from_secs(1));
    assert_eq!(began_again(&cluster, "b"), 1);
    cluster.patch("a", "kept", set("v", "1"));
    cluster.settle();
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    cluster.heal();
    cluster.run(Duration::from_secs(1));
    assert_eq!(began_again(&cluster, "b"), 1, "but not twice");
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 2;
    cluster.run(Duration::from_secs(20));
    for at in ["a", "b"] {
        assert_eq!(cluster.engines[&node(at)].phase(), &Phase::Ready, "{at}");
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
    }
}

/// They meet again a moment before it is due to be forgotten, and repair looks at a difference twice.
#[test]
fn a_tombstone_is_kept_until_a_node_that_came_back_was_given_it() {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(200);
    cluster = cluster.begin(&["a", "b"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_millis(199_900));
    assert_eq!(cluster.engines[&node("a")].table().tombstones(), 1);
    cluster.heal();
    cluster.run(Duration::from_secs(5));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(began_again(&cluster, at), 0, "{at}");
    }
    cluster.run(Duration::from_secs(205));
    for at in ["a", "b"] {
        assert_eq!(cluster.engines[&node(at)].table().tombstones(), 0, "at {at}");
    }
}

/// Its next absence begins before it was given what it missed in the one before.
#[test]
fn a_node_that_was_back_for_a_moment_has_missed_what_it_missed_before() {
    let mut cluster = Cluster::new();
    cluster.tombstone_life = Duration::from_secs(200);
    cluster = cluster.begin(&["a", "b", "c"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["c"], &["a", "b"]);
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_millis(199_900));
    cluster.heal();
    cluster.settle();
    cluster.part(&["c"], &["a", "b"]);
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.engines[&node("a")].table().tombstones(), 0);
    assert!(cluster.value("c", "gone", "v").is_some(), "as far as c knows");
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(began_again(&cluster, at), u64::from(at == "c"), "{at}");
    }
}

/// It gets the session from a member that missed its end, before it has compared tables with the one that ended it.
#[test]
fn a_session_whose_tombstone_is_due_to_be_forgotten_does_not_return_with_a_node_that_joins_meanwhile() {
    let mut cluster = cluster(&["a", "b"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(55));
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 0;
    cluster.start("c");
    cluster.run(Duration::from_secs(10));
    let held = |cluster: &Cluster| cluster.engines[&node("c")].table().get(&key("gone")).is_some();
    assert!(held(&cluster), "b sent it to c");
    assert_ne!(cluster.engines[&node("c")].phase(), &Phase::Ready);
    let donor = cluster.engines.get_mut(&node("a")).unwrap();
    donor.config.donor_transfers = 2;
    cluster.run(Duration::from_secs(5));
    for at in ["a", "c"] {
        assert_eq!(cluster.engines[&node(at)].phase(), &Phase::Ready, "{at}");
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
    }
    cluster.run(Duration::from_secs(70));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "gone", "v"), None, "at {at}");
        assert_eq!(cluster.engines[&node(at)].table().tombstones(), 0, "at {at}");
    }
}

/// The node that joins never gets the table.
#[test]
fn no_tombstone_is_kept_for_longer_than_twice_its_life() {
    let mut cluster = cluster(&["a"]);
    cluster.patch("a", "gone", set("v", "1"));
    cluster.at("a", |engine, _| engine.config.donor_transfers = 0);
    cluster.start("b");
    cluster.run(Duration::from_secs(1));
    delete(&mut cluster, "a", "gone");
    cluster.run(Duration::from_secs(115));
    assert_ne!(cluster.engines[&node("b")].phase(), &Phase::Ready);
    let tombstones = |cluster: &Cluster| cluster.engines[&node("a")].table().tombstones();
    assert_eq!(tombstones(&cluster), 1);
    cluster.run(Duration::from_secs(10));
    assert_eq!(tombstones(&cluster), 0);
}
