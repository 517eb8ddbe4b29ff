//! Lost acknowledgements, overflows, restarts: what goes wrong between two nodes, and what must not follow.

use super::*;
use crate::replication::position::Sequence;

#[test]
fn an_acknowledgement_that_came_before_anybody_waited_counts() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    cluster.settle();
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    assert_eq!(
        engine.wait_for(Level::All, Duration::from_secs(1), write_set, now),
        Err(2)
    );
}

#[test]
fn an_acknowledgement_that_got_lost_is_said_again_on_the_next_link() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    let now = cluster.now();
    let waiter = cluster
        .engines
        .get_mut(&node("a"))
        .unwrap()
        .wait_for(Level::All, Duration::from_secs(60), write_set, now)
        .unwrap();
    // The change arrives at b; the link on which b would say so breaks first.
    for stream in StreamId::first(STREAMS) {
        let on = cluster.links[&(node("a"), node("b"), stream)];
        let messages = cluster.engines.get_mut(&node("a")).unwrap();
        for message in messages.says(&node("b"), stream) {
            let b = cluster.engines.get_mut(&node("b")).unwrap();
            b.on_message(&node("a"), on, message, now);
        }
    }
    cluster.unlink(&node("b"), &node("a"));
    cluster.down(&node("b"), &node("a"), false);
    cluster.relink();
    cluster.settle();
    assert_eq!(cluster.copies.get(&(node("a"), waiter)), Some(&2));
}

/// A node restarted with its clock set back numbers from an earlier sequence on than its incarnation before.
#[test]
fn what_a_peer_refused_of_an_earlier_incarnation_says_nothing_of_this_one() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let now = cluster.now();
    for stream in StreamId::first(STREAMS) {
        let on = cluster.links[&(node("b"), node("a"), CONTROL)];
        let later = Sequence::MAX.previous();
        let ack = message::Message::Ack {
            stream,
            sequence: later,
            refused: later,
        };
        let engine = cluster.engines.get_mut(&node("a")).unwrap();
        engine.on_message(&node("b"), on, ack, now);
    }
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    cluster.settle();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    assert_eq!(
        engine.wait_for(Level::All, Duration::from_secs(1), write_set, now),
        Err(2)
    );
}

#[test]
fn what_an_overflow_dropped_is_never_counted() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.part(&["a"], &["b"]);
    let write_set = cluster.patch("a", "S1", set("v", "1"));
    let now = cluster.now();
    let waiter = cluster
        .engines
        .get_mut(&node("a"))
        .unwrap()
        .wait_for(Level::All, Duration::from_secs(60), write_set, now)
        .unwrap();
    for n in 0..3 {
        cluster.patch("a", &format!("big{n}"), set("v", &"x".repeat(500_000)));
    }
    cluster.heal();
    cluster.patch("a", "S2", set("v", "1"));
    cluster.settle();
    assert_eq!(
        cluster.copies.get(&(node("a"), waiter)),
        None,
        "nobody said b holds it"
    );
    cluster.run(Duration::from_secs(30));
    assert_eq!(
        cluster.value("b", "S1", "v").as_deref(),
        Some("1"),
        "repaired all the same"
    );
    cluster.assert_converged();
}

#[test]
fn telling_missed_uses_leaves_room_for_changes() {
    let mut cluster = Cluster::of(&["a", "b"]);
    for n in 0..4000 {
        cluster.patch("a", &format!("S{n}"), set("v", "1"));
    }
    cluster.settle();
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    let now = cluster.now();
    for n in 0..4000 {
        let engine = cluster.engines.get_mut(&node("a")).unwrap();
        engine.touch(&key(&format!("S{n}")), now).unwrap();
    }
    // There is a link to b, and it carries nothing yet.
    let (a, b) = (node("a"), node("b"));
    let identity = cluster.engines[&b].identity().clone();
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.link_up(&b, identity, CONTROL, now);
    for _ in 0..50 {
        engine.tick(now);
    }
    let (outboxes, bound) = (engine.peers()[&b].outboxes(), engine.config.queue_bytes);
    assert_eq!(outboxes.dropped(), 0);
    let bytes = outboxes.bytes();
    assert!((bound / 3..=bound / 2).contains(&bytes), "{bytes} of {bound}");
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    for (key, record) in cluster.engines[&a].table().iter() {
        let there = cluster.engines[&b].table().get(key).unwrap();
        assert_eq!(there.last_touch, record.last_touch, "{key:?}");
    }
}

#[test]
fn a_use_dropped_by_an_overflow_is_told_again() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(300));
    let now = cluster.now();
    let (a, b) = (node("a"), node("b"));
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.touch(&key("S1"), now).unwrap();
    let too_much = set("v", &"x".repeat(engine.config.queue_bytes));
    engine.patch(&key("S2"), too_much, now).unwrap();
    assert!(engine.peers()[&b].outboxes().dropped() > 0, "nothing was dropped");
    cluster.run(Duration::from_secs(1));
    let last_touch = |at: &NodeId| cluster.engines[at].table().get(&key("S1")).unwrap().last_touch;
    assert_eq!(last_touch(&a), last_touch(&b));
}

#[test]
fn a_touch_reaches_a_member_that_goes_on_as_a_later_incarnation() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(300));
    cluster.part(&["a"], &["b"]);
    let (a, b, now) = (node("a"), node("b"), cluster.now());
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.touch(&key("S1"), now).unwrap();
    let engine = cluster.engines.get_mut(&b).unwrap();
    engine.outpace(engine.identity().incarnation + 1, now); // it was wrongly declared down, say
    cluster.heal();
    cluster.run(Duration::from_secs(1));
    let last_touch = |at: &NodeId| cluster.engines[at].table().get(&key("S1")).unwrap().last_touch;
    assert_eq!(last_touch(&a), last_touch(&b));
}

#[test]
fn a_use_during_a_cut_keeps_the_session_on_the_other_side_too() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch(
        "a",
        "S1",
        Patch {
            max_inactive: Some(IdleLimit::Millis(60_000)),
            ..set("v", "1")
        },
    );
    cluster.settle();
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(40));
    for at in ["a", "b"] {
        let now = cluster.now();
        let engine = cluster.engines.get_mut(&node(at)).unwrap();
        if at == "a" {
            engine.touch(&key("S1"), now).unwrap();
        }
    }
    cluster.heal();
    cluster.run(Duration::from_secs(40));
    for at in ["a", "b"] {
        assert!(cluster.value(at, "S1", "v").is_some(), "at {at}");
    }
}

#[test]
fn a_node_restarted_with_an_earlier_clock_is_a_member_all_the_same() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let earlier = Engine::new(
        EngineConfig {
            seeds: BTreeSet::new(),
            ..cluster.engines[&node("b")].config().clone()
        },
        Now {
            wall_ms: BEGIN_MS - 1_000_000,
            mono: Duration::ZERO,
        },
    );
    let known = cluster.engines[&node("a")]
        .roster()
        .get(&node("b"))
        .unwrap()
        .identity
        .incarnation;
    let mut restarted = earlier;
    assert!(restarted.outpace(known, cluster.now()));
    assert!(restarted.identity().incarnation > known);
    assert!(!restarted.outpace(known, cluster.now()));
    cluster.run(Duration::from_secs(1));
}

#[test]
fn touches_missed_by_many_cost_a_tick_no_more_than_those_missed_by_one() {
    let mut cluster = Cluster::new();
    cluster.queue_bytes = 1 << 26;
    let mut cluster = cluster.begin(&["a", "b", "c", "d"]);
    for n in 0..12_000 {
        cluster.patch("a", &format!("S{n}"), set("v", "1"));
    }
    cluster.run(Duration::from_secs(1));
    let others = ["b", "c", "d"].map(node);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let mut told = [0; 3];
    others
        .iter()
        .for_each(|other| engine.note_missed_touches(other, 0));
    for _ in 0..3 * 12_000 / touches::SESSIONS_PER_TICK + 10 {
        engine.tick(now);
        let waiting = [0, 1, 2].map(|n| engine.peers()[&others[n]].outboxes().recount().0);
        let more = waiting.iter().sum::<usize>() - told.iter().sum::<usize>();
        assert!(more < touches::SESSIONS_PER_TICK + 100, "{more} in one tick");
        told = waiting;
    }
    assert!(told.iter().all(|told| *told >= 12_000), "{told:?}");
}
