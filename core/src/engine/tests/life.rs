//! Joining, changing, ending, cutting and healing: what users see of a cluster.

use super::*;

#[test]
fn a_change_reaches_every_node_and_every_copy_is_counted() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let write_set = cluster.patch("a", "S1", set("cart", "shoes"));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let waiter = engine
        .wait_for(Level::All, Duration::from_secs(1), write_set, now)
        .unwrap();
    cluster.settle();
    assert_eq!(cluster.copies.get(&(node("a"), waiter)), Some(&3));
    for at in ["a", "b", "c"] {
        assert_eq!(
            cluster.value(at, "S1", "cart").as_deref(),
            Some("shoes"),
            "at {at}"
        );
    }
}

#[test]
fn a_joining_node_serves_nothing_before_it_has_everything() {
    let mut cluster = Cluster::of(&["a"]);
    for n in 0..2000 {
        cluster.patch("a", &format!("S{n}"), set("v", &"x".repeat(1000)));
    }
    cluster.start("b");
    let now = cluster.now();
    let joiner = cluster.engines.get_mut(&node("b")).unwrap();
    assert!(matches!(
        joiner.patch(&key("S1"), set("v", "y"), now),
        Err(Refused::NotReady(_))
    ));
    assert!(joiner.not_ready_reason().is_some());
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.engines[&node("b")].sessions(), 2000);
    assert_eq!(cluster.engines[&node("b")].phase(), &Phase::Ready);
    cluster.assert_converged();
}

#[test]
fn both_sides_of_a_cut_keep_working_and_agree_afterwards() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "kept", set("v", "0"));
    cluster.patch("a", "ended", set("v", "0"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(600));
    cluster.patch("a", "kept", set("left", "1"));
    cluster.patch("b", "kept", set("right", "2"));
    cluster.patch("c", "new", set("v", "3"));
    cluster
        .at("b", |engine, now| engine.delete(&key("ended"), now))
        .unwrap();
    cluster.run(Duration::from_secs(5));
    assert_eq!(
        cluster.value("a", "ended", "v").as_deref(),
        Some("0"),
        "a cannot know yet"
    );
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    cluster.assert_converged();
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "kept", "left").as_deref(), Some("1"), "at {at}");
        assert_eq!(
            cluster.value(at, "kept", "right").as_deref(),
            Some("2"),
            "at {at}"
        );
        assert_eq!(cluster.value(at, "new", "v").as_deref(), Some("3"), "at {at}");
        assert_eq!(
            cluster.value(at, "ended", "v"),
            None,
            "a deleted session came back at {at}"
        );
    }
    let states = cluster.engines[&node("a")].roster();
    assert!(states.iter().all(|(_, member)| member.active), "{states:?}");
}

#[test]
fn a_node_that_was_only_silent_is_a_ready_member_again() {
    let mut cluster = Cluster::of(&["a", "b"]);
    // Messages stop while the links stay up: a stopped process, seen from outside.
    let links = std::mem::take(&mut cluster.links);
    cluster.cut = links
        .keys()
        .map(|(from, to, _)| (from.clone(), to.clone()))
        .collect();
    cluster.run(Duration::from_secs(10));
    cluster.links = links;
    cluster.cut.clear();
    cluster.run(Duration::from_secs(10));
    for (at, other) in [("a", "b"), ("b", "a")] {
        let state = cluster.engines[&node(at)]
            .roster()
            .get(&node(other))
            .unwrap()
            .state();
        assert_eq!(state.name(), "ready", "{other} as {at} sees it");
    }
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    assert_eq!(write_set.groups()[0].len(), 1);
    cluster.settle();
    assert_eq!(cluster.value("b", "S1", "v").as_deref(), Some("1"));
}

#[test]
fn a_restarted_node_gets_everything_back() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.start("a");
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.value("a", "S1", "v").as_deref(), Some("1"));
    assert_eq!(cluster.engines[&node("a")].phase(), &Phase::Ready);
    cluster.assert_converged();
}

#[test]
fn an_idle_session_ends_everywhere_without_anybody_asking() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let idle = Patch {
        max_inactive: Some(IdleLimit::Millis(2000)),
        ..set("v", "1")
    };
    cluster.patch("a", "S2", idle);
    cluster.run(Duration::from_millis(1500));
    let now = cluster.now();
    cluster
        .engines
        .get_mut(&node("b"))
        .unwrap()
        .touch(&key("S2"), now)
        .unwrap();
    cluster.run(Duration::from_millis(1500));
    assert!(
        cluster.value("a", "S2", "v").is_some(),
        "its use at the other node kept it"
    );
    cluster.run(Duration::from_millis(600));
    assert_eq!(cluster.value("a", "S2", "v"), None, "not served past its time");
    cluster.run(Duration::from_secs(2));
    for at in ["a", "b"] {
        assert_eq!(cluster.engines[&node(at)].sessions(), 0, "at {at}");
    }
    let expired: u64 = cluster
        .engines
        .values()
        .map(|engine| engine.counters().expired)
        .sum();
    assert_eq!(expired, 1, "one node says so");
}

#[test]
fn every_node_has_the_same_token_keys() {
    let cluster = Cluster::of(&["a", "b", "c"]);
    let keys: Vec<_> = cluster
        .engines
        .values()
        .map(|engine| engine.worker_table(cluster.now().wall_ms).keys)
        .collect();
    assert!(!keys[0].is_empty());
    assert!(keys.iter().all(|k| *k == keys[0]), "{keys:?}");
}

#[test]
fn a_session_made_again_under_its_old_id_has_none_of_its_old_attributes() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("secret", "of the first user"));
    cluster.settle();
    cluster
        .at("a", |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    cluster.patch("a", "S1", set("v", "of the second"));
    cluster.settle();
    assert_eq!(cluster.value("b", "S1", "secret"), None);
    assert_eq!(cluster.value("b", "S1", "v").as_deref(), Some("of the second"));
}
