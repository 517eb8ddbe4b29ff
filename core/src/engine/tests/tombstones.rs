//! How sessions end, and how they do not: idleness is contradicted by a later use, a deletion by nothing.

use super::*;
use crate::session::{Record, Stamp};

fn idle(ms: u64) -> Patch {
    Patch {
        max_inactive: Some(IdleLimit::Millis(ms)),
        ..set("v", "1")
    }
}

#[test]
fn a_session_in_use_on_one_side_of_a_cut_goes_on_at_both_when_it_heals() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(20_000));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    for _ in 0..12 {
        cluster.run(Duration::from_secs(5));
        cluster
            .at("b", |engine, now| engine.touch(&key("S1"), now))
            .unwrap();
    }
    assert_eq!(cluster.value("a", "S1", "v"), None, "idle, as far as a knows");
    cluster.heal();
    cluster.run(Duration::from_secs(12));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn a_session_deleted_on_one_side_of_a_cut_is_gone_at_both_however_much_the_other_used_it() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(60_000));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    cluster
        .at("a", |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    cluster.run(Duration::from_secs(5));
    cluster.patch("b", "S1", set("w", "2"));
    cluster.heal();
    cluster.run(Duration::from_secs(12));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "w"), None, "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn a_deletion_at_another_node_is_known_as_exactly_as_times_agree() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let deleted = cluster
        .at("a", |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    let deleted_ms = deleted.version.wall_ms();
    cluster.run(Duration::from_secs(1));
    cluster.patch("b", "S1", set("v", "of another session"));
    let mut since = |at, since_ms| cluster.at(at, |engine, _| engine.was_deleted_since(&key("S1"), since_ms));
    for at in ["a", "b"] {
        assert!(since(at, deleted_ms - 1), "at {at}");
        assert!(!since(at, deleted_ms + 100), "at {at}");
    }
    assert!(!since("a", deleted_ms), "its own stamp is exact");
    assert!(
        since("b", deleted_ms + 99),
        "the times of two nodes differ a little"
    );
}

#[test]
fn whoever_knows_of_a_later_use_says_the_session_again_at_once() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(3000));
    cluster.run(Duration::from_millis(2900));
    // b uses it at the last moment; what it says of that is still on its way when a gives the session up.
    let links = std::mem::take(&mut cluster.links);
    cluster.cut = links
        .keys()
        .map(|(from, to, _)| (from.clone(), to.clone()))
        .collect();
    cluster
        .at("b", |engine, now| engine.touch(&key("S1"), now))
        .unwrap();
    cluster.run(Duration::from_millis(800));
    cluster.links = links;
    cluster.cut.clear();
    cluster.settle();
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn a_clock_set_forward_ends_no_session_and_one_set_back_keeps_none() {
    for jump_ms in [3_600_000_i64, -3_600_000] {
        let mut cluster = Cluster::of(&["a"]);
        cluster.patch("a", "S1", idle(60_000));
        let jumped = |cluster: &Cluster| {
            let now = cluster.now();
            Now {
                wall_ms: now.wall_ms.saturating_add_signed(jump_ms),
                ..now
            }
        };
        let live = |cluster: &mut Cluster, seconds: u64| {
            for _ in 0..seconds * 20 {
                cluster.elapsed += Duration::from_millis(50);
                let now = jumped(cluster);
                cluster.engines.get_mut(&node("a")).unwrap().tick(now);
            }
            let now = jumped(cluster);
            cluster.engines[&node("a")].session(&key("S1"), now).is_some()
        };
        assert!(live(&mut cluster, 50), "jump {jump_ms}: ended early");
        assert!(!live(&mut cluster, 20), "jump {jump_ms}: kept too long");
    }
}

#[test]
fn whole_replacement_removes_what_is_not_named() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("old", "1"));
    cluster.patch("a", "S1", set("kept", "1"));
    let patch = Patch {
        replace: true,
        ..set("kept", "2")
    };
    cluster.patch("b", "S1", Patch::default());
    cluster.settle();
    cluster.patch("b", "S1", patch);
    cluster.settle();
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "old"), None, "at {at}");
        assert_eq!(cluster.value(at, "S1", "kept").as_deref(), Some("2"), "at {at}");
    }
}

#[test]
fn a_full_table_refuses_new_sessions_and_keeps_the_others() {
    let mut cluster = Cluster::of(&["a"]);
    let mut config = cluster.engines[&node("a")].config().clone();
    config.max_active = Some(1);
    config.seeds.clear();
    let now = cluster.now();
    let mut engine = Engine::new(config, now);
    engine.patch(&key("S1"), set("v", "1"), now).unwrap();
    assert_eq!(
        engine.patch(&key("S2"), set("v", "1"), now).unwrap_err(),
        Refused::Full(1)
    );
    engine.patch(&key("S1"), set("v", "2"), now).unwrap();
    assert_eq!(engine.counters().refused_full, 1);
    cluster.engines.insert(node("a"), engine);
}

#[test]
fn the_end_of_an_old_id_is_known_though_the_new_one_ended_at_once() {
    for after_settling in [false, true] {
        let mut cluster = Cluster::of(&["a", "b"]);
        cluster.patch("a", "old", set("v", "1"));
        cluster.settle();
        cluster
            .at("a", |engine, now| {
                engine.rename(&key("old"), &key("new"), InUse::Refuse, now)
            })
            .unwrap();
        if after_settling {
            // Two links are two orders: the end of the new id overtakes its beginning.
            let over = Record::tombstone(Stamp::at(cluster.now().wall_ms + 1000));
            cluster.at("b", |engine, now| engine.join(&key("new"), &over, now));
        } else {
            cluster
                .at("a", |engine, now| engine.delete(&key("new"), now))
                .unwrap();
        }
        cluster.settle();
        assert_eq!(
            cluster.value("b", "old", "v"),
            None,
            "after settling: {after_settling}"
        );
    }
}

#[test]
fn a_use_heard_late_finds_what_the_session_held() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "S1", idle(20_000));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["c"], &["a", "b"]);
    cluster.run(Duration::from_secs(15));
    cluster
        .at("c", |engine, now| engine.touch(&key("S1"), now))
        .unwrap();
    cluster.run(Duration::from_secs(10));
    assert_eq!(
        cluster.value("b", "S1", "v"),
        None,
        "idle, as far as a and b know"
    );
    // Only b hears of the use, and c is gone before anything is repaired.
    cluster.cut.retain(|(from, to)| [from, to].contains(&&node("a")));
    cluster.relink();
    cluster.settle();
    cluster.stop("c");
    cluster.run(Duration::from_secs(5));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn a_use_of_a_session_that_is_not_here_leaves_nothing() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let life = Stamp {
        time: BEGIN_MS << 16,
        node: 7,
    };
    let last_touch = crate::session::Touch {
        life,
        at_ms: BEGIN_MS,
    };
    let change = (key("S1"), Record::touch_only(last_touch));
    cluster.at("a", |engine, now| engine.apply(&node("b"), vec![change], now));
    assert!(cluster.engines[&node("a")].table().get(&key("S1")).is_none());
}

#[test]
fn no_node_believes_a_wrong_clock_that_a_session_is_idle() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(1_800_000));
    cluster.settle();
    let last_touch = cluster.engines[&node("a")]
        .table()
        .get(&key("S1"))
        .unwrap()
        .last_touch
        .unwrap();
    let message = (key("S1"), Record::expiry(last_touch));
    cluster.at("b", |engine, now| engine.apply(&node("a"), vec![message], now));
    assert_eq!(cluster.value("b", "S1", "v").as_deref(), Some("1"));
    assert_eq!(cluster.engines[&node("b")].counters().expiries_refused, 1);
}

#[test]
fn a_node_that_joins_with_a_clock_an_hour_ahead_counts_idle_time_as_the_others_do() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(1_800_000));
    cluster.settle();
    cluster.skew_ms.insert(node("c"), 3_600_000);
    cluster.start("c");
    cluster.run(Duration::from_secs(10));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn a_session_made_again_under_the_id_of_an_idle_one_ends_in_its_time() {
    let mut cluster = Cluster::of(&["a", "b"]);
    for _ in 0..2 {
        cluster.patch("a", "S1", idle(1000));
        cluster.run(Duration::from_secs(6));
        for at in ["a", "b"] {
            assert_eq!(cluster.engines[&node(at)].sessions(), 0, "at {at}");
        }
    }
}

#[test]
fn a_longer_lifetime_given_on_one_side_of_a_cut_holds_on_both_when_it_heals() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(5000));
    cluster.settle();
    cluster.part(&["a"], &["b"]);
    let forever = Patch {
        max_inactive: Some(IdleLimit::Forever),
        ..Patch::default()
    };
    cluster.patch("b", "S1", forever);
    cluster.run(Duration::from_secs(1));
    cluster.patch("a", "S1", set("w", "2"));
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.value("a", "S1", "v"), None, "idle, as far as a knows");
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.value(at, "S1", "w").as_deref(), Some("2"), "at {at}");
    }
    cluster.assert_converged();
}

#[test]
fn uses_are_told_in_time_when_the_idle_lifetime_becomes_shorter() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster
        .at("b", |engine, now| engine.touch(&key("S1"), now))
        .unwrap();
    cluster.run(Duration::from_secs(1));
    let shorter = Patch {
        max_inactive: Some(IdleLimit::Millis(3000)),
        ..Patch::default()
    };
    cluster.patch("a", "S1", shorter);
    for _ in 0..4 {
        cluster.run(Duration::from_secs(2));
        cluster
            .at("b", |engine, now| engine.touch(&key("S1"), now))
            .unwrap();
    }
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.value("a", "S1", "v").as_deref(), Some("1"));
}

#[test]
fn a_lifetime_that_is_said_with_every_change_makes_no_uses_be_told_more_often() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S1", idle(1_800_000));
    let sent = |cluster: &Cluster| cluster.engines[&node("a")].counters().deltas_sent;
    let mut before = 0;
    for second in 0..150 {
        if second == 140 {
            before = sent(&cluster);
        }
        cluster
            .at("a", |engine, now| engine.touch(&key("S1"), now))
            .unwrap();
        cluster.patch("a", "S1", idle(1_800_000));
        cluster.run(Duration::from_secs(1));
    }
    let sent = sent(&cluster) - before;
    assert!((10..13).contains(&sent), "{sent} changes in 10 s");
}
