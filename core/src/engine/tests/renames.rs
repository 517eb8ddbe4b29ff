//! Renames: the session goes on under its new id with all that others do to it meanwhile, and its old id is no key to it.

use super::*;
use crate::engine::Tunables;
use crate::session::{Record, Stamp};

fn idle(ms: u64) -> Patch {
    Patch {
        max_inactive: Some(IdleLimit::Millis(ms)),
        ..set("v", "1")
    }
}

impl Cluster {
    fn rename(&mut self, at: &str, from: &str, to: &str) -> Result<Stamp, Refused> {
        let renamed = self.at(at, |engine, now| {
            engine.rename(&key(from), &key(to), InUse::Refuse, now)
        });
        renamed.map(|written| written.life)
    }

    fn life(&mut self, at: &str, id: &str) -> Stamp {
        let record = self.at(at, |engine, now| engine.session(&key(id), now).cloned());
        record.and_then(|record| record.first_life()).unwrap()
    }

    /// The id that a request meant by `id` which began so many seconds ago.
    fn meant(&mut self, at: &str, id: &str, ago_s: u64) -> Option<SessionKey> {
        self.at(at, |engine, now| {
            let began_ms = engine.time_ms(now) - ago_s * 1000;
            engine.locate_for_request(&key(id), began_ms, now)
        })
    }

    /// Takes the changes that `from` has for `to`, which then never arrive.
    fn changes(&mut self, from: &str, to: &str) -> Vec<(SessionKey, Record)> {
        let streams = StreamId::first(STREAMS);
        let messages = streams.flat_map(|stream| self.at(from, |engine, _| engine.says(&node(to), stream)));
        let changes = messages.filter_map(|message| match message {
            message::Message::Deltas { changes, .. } => Some(changes),
            _ => None,
        });
        changes.flatten().collect()
    }

    /// A change that says which life was read.
    fn patch_in(&mut self, at: &str, id: &str, life: Stamp, patch: Patch) -> Result<(), Refused> {
        self.at(at, |engine, now| {
            let key = engine.locate(&key(id), life, now)?;
            engine.patch(&key, patch, now).map(drop)
        })
    }
}

#[test]
fn a_renamed_session_keeps_everything_and_its_old_id_finds_nothing() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let patch = Patch {
        route: Some("r1".into()),
        ..idle(600_000)
    };
    cluster.patch("a", "old", patch);
    cluster.run(Duration::from_secs(1));
    let life = cluster.life("a", "old");
    let change = cluster.at("a", |engine, now| {
        engine.rename(&key("old"), &key("new"), InUse::Refuse, now)
    });
    let change = change.unwrap();
    assert_eq!(change.write_set.groups()[0].len(), 1, "one change, for one peer");
    assert_eq!(change.life, life);
    cluster.settle();
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "new", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.life(at, "new"), life, "at {at}");
        assert_eq!(cluster.value(at, "old", "v"), None, "at {at}");
        let touched = cluster.at(at, |engine, now| engine.touch(&key("old"), now).map(drop));
        assert_eq!(touched, Err(Refused::NotFound), "at {at}");
        let deleted = cluster.at(at, |engine, now| engine.delete(&key("old"), now).map(drop));
        assert_eq!(deleted, Err(Refused::NotFound), "at {at}");
    }
    let record = cluster
        .at("a", |engine, now| engine.session(&key("new"), now).cloned())
        .unwrap();
    assert_eq!(record.max_inactive.unwrap().value, IdleLimit::Millis(600_000));
    assert_eq!(&*record.route.unwrap().value, "r1");
}

#[test]
fn a_write_under_the_old_id_begins_another_session() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "old", set("v", "1"));
    cluster.settle();
    cluster.rename("a", "old", "new").unwrap();
    cluster.settle();
    cluster.patch("b", "old", set("w", "2"));
    cluster.settle();
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "old", "v"), None, "at {at}");
        assert_eq!(cluster.value(at, "old", "w").as_deref(), Some("2"), "at {at}");
        assert_eq!(cluster.value(at, "new", "w"), None, "at {at}");
    }
}

#[test]
fn a_write_that_names_the_life_it_read_follows_for_a_while_and_no_other_does() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "old", set("v", "1"));
    cluster.settle();
    let life = cluster.life("b", "old");
    cluster.rename("a", "old", "new").unwrap();
    cluster.settle();
    cluster.rename("a", "new", "newer").unwrap();
    cluster.settle();
    cluster.patch_in("b", "old", life, set("w", "2")).unwrap();
    cluster.patch_in("b", "newer", life, set("x", "3")).unwrap();
    let other = Stamp {
        node: life.node ^ 1,
        ..life
    };
    for id in ["old", "new", "newer", "none"] {
        assert_eq!(
            cluster.patch_in("b", id, other, set("y", "4")),
            Err(Refused::Unmet),
            "{id}"
        );
    }
    cluster.settle();
    for (name, value) in [("v", "1"), ("w", "2"), ("x", "3")] {
        assert_eq!(
            cluster.value("a", "newer", name).as_deref(),
            Some(value),
            "{name}"
        );
    }
    assert_eq!(cluster.value("a", "newer", "y"), None);
    cluster.run(Duration::from_secs(31));
    assert_eq!(
        cluster.patch_in("b", "old", life, set("w", "5")),
        Err(Refused::Unmet)
    );
    cluster.patch_in("b", "newer", life, set("w", "5")).unwrap();
    cluster
        .at("b", |engine, now| engine.delete(&key("newer"), now))
        .unwrap();
    assert_eq!(
        cluster.patch_in("b", "newer", life, set("w", "6")),
        Err(Refused::Unmet)
    );
}

#[test]
fn a_request_that_began_before_the_rename_was_heard_of_follows_and_a_later_one_does_not() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "old", set("v", "1"));
    cluster.settle();
    cluster.rename("a", "old", "new").unwrap();
    cluster.settle();
    cluster.rename("a", "new", "newer").unwrap();
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.meant("b", "old", 6), Some(key("newer")));
    assert_eq!(cluster.meant("b", "old", 4), Some(key("old")));
    cluster
        .at("a", |engine, now| engine.delete(&key("newer"), now))
        .unwrap();
    cluster.settle();
    assert_eq!(cluster.meant("b", "old", 6), None, "deleted since");
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.meant("b", "old", 40), None, "too late to follow");
    assert_eq!(cluster.meant("b", "old", 1), Some(key("old")));
}

#[test]
fn a_request_that_began_before_a_deletion_follows_no_session_that_had_the_id_since() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "id", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster
        .at("a", |engine, now| engine.delete(&key("id"), now))
        .unwrap();
    cluster.run(Duration::from_secs(1));
    cluster.patch("a", "id", set("v", "of another"));
    cluster.settle();
    cluster.rename("a", "id", "new").unwrap();
    cluster.settle();
    assert_eq!(cluster.meant("b", "id", 2), None);
}

#[test]
fn a_node_that_hears_only_of_the_new_id_knows_the_end_of_the_old_one() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "old", idle(600_000));
    cluster.settle();
    cluster.rename("a", "old", "new").unwrap();
    let changes = cluster.changes("a", "b");
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].0, key("new"));
}

#[test]
fn a_node_that_hears_only_of_a_deletion_ends_the_session_under_the_id_it_knows() {
    for replaces in [false, true] {
        let mut cluster = Cluster::of(&["a", "b"]);
        cluster.patch("a", "old", idle(600_000));
        cluster.patch("a", "other", set("w", "2"));
        cluster.settle();
        cluster.rename("a", "old", "new").unwrap();
        cluster.rename("a", "new", "newer").unwrap();
        assert_ne!(cluster.changes("a", "b"), [], "which is lost");
        let ended = cluster.at("a", |engine, now| match replaces {
            false => engine.delete(&key("newer"), now),
            true => engine.rename(&key("other"), &key("newer"), InUse::Replace, now),
        });
        assert_eq!(ended.unwrap().write_set.groups().len(), 1);
        let changes = cluster.changes("a", "b");
        cluster.at("b", |engine, now| {
            for (key, change) in changes {
                engine.join(&key, &change, now);
            }
        });
        assert_eq!(cluster.value("b", "old", "v"), None);
        assert_eq!(
            cluster.value("b", "newer", "w").as_deref(),
            replaces.then_some("2")
        );
    }
}

/// Whatever is said of how long callers may follow.
#[test]
fn what_others_changed_before_they_heard_of_a_rename_follows_it_without_a_limit_of_time() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        cluster.at(name, |engine, _| {
            let config = engine.config();
            engine.tune(Tunables {
                state_transfer_timeout: config.state_transfer_timeout,
                max_inactive: config.max_inactive,
                max_active: config.max_active,
                touch_interval: config.touch_interval,
                rename_forward: Duration::ZERO,
            });
        });
    }
    cluster.patch("a", "old", idle(600_000));
    cluster.settle();
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(20));
    cluster.rename("a", "old", "new").unwrap();
    cluster.patch("b", "old", set("w", "2"));
    cluster.patch("b", "old", idle(900_000));
    cluster.run(Duration::from_secs(120));
    cluster.heal();
    cluster.run(Duration::from_secs(20));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "old", "w"), None, "at {at}");
        assert_eq!(cluster.value(at, "new", "w").as_deref(), Some("2"), "at {at}");
        assert_eq!(cluster.value(at, "new", "v").as_deref(), Some("1"), "at {at}");
        let record = cluster.at(at, |engine, now| engine.session(&key("new"), now).cloned());
        let lifetime = record.unwrap().max_inactive.unwrap().value;
        assert_eq!(lifetime, IdleLimit::Millis(900_000), "at {at}");
    }
}

#[test]
fn touches_under_the_old_id_count_for_a_session_that_was_renamed() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "old", idle(60_000));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    cluster.rename("a", "old", "new").unwrap();
    for _ in 0..4 {
        cluster.run(Duration::from_secs(20));
        cluster
            .at("b", |engine, now| engine.touch(&key("old"), now))
            .unwrap();
    }
    assert_eq!(cluster.value("a", "new", "v"), None, "idle, as far as a knows");
    cluster.heal();
    cluster.run(Duration::from_secs(12));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "new", "v").as_deref(), Some("1"), "at {at}");
    }
}

#[test]
fn of_two_renames_in_a_cut_one_wins_everywhere_and_the_other_id_stands_for_it() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "old", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let life = cluster.life("a", "old");
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(10));
    cluster.rename("a", "old", "first").unwrap();
    cluster.run(Duration::from_secs(1));
    cluster.rename("b", "old", "second").unwrap();
    cluster.patch("a", "first", set("w", "2"));
    cluster.patch("b", "second", set("x", "3"));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "first", "v"), None, "at {at}");
        for (name, value) in [("v", "1"), ("w", "2"), ("x", "3")] {
            assert_eq!(
                cluster.value(at, "second", name).as_deref(),
                Some(value),
                "{name} at {at}"
            );
        }
    }
    cluster.patch_in("a", "first", life, set("y", "4")).unwrap();
    assert_eq!(cluster.value("a", "second", "y").as_deref(), Some("4"));
}

#[test]
fn a_deletion_under_the_old_id_ends_a_session_that_was_renamed_meanwhile() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "old", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(10));
    cluster
        .at("b", |engine, now| engine.delete(&key("old"), now))
        .unwrap();
    cluster.patch("b", "old", set("w", "of another"));
    cluster.rename("a", "old", "new").unwrap();
    cluster.patch("a", "new", set("x", "3"));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "new", "x"), None, "at {at}");
        assert_eq!(cluster.value(at, "old", "v"), None, "at {at}");
        assert_eq!(
            cluster.value(at, "old", "w").as_deref(),
            Some("of another"),
            "at {at}"
        );
    }
}

#[test]
fn an_id_in_use_is_not_given_unless_its_session_is_to_be_replaced() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S", set("v", "1"));
    cluster.patch("a", "T", set("w", "2"));
    cluster.settle();
    assert_eq!(cluster.rename("b", "S", "T"), Err(Refused::InUse));
    cluster
        .at("b", |engine, now| {
            engine.rename(&key("S"), &key("T"), InUse::Replace, now)
        })
        .unwrap();
    cluster.settle();
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "T", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.value(at, "T", "w"), None, "at {at}");
        assert_eq!(cluster.value(at, "S", "v"), None, "at {at}");
    }
}

#[test]
fn a_replacement_ends_no_session_but_the_one_its_node_knew() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S", set("v", "1"));
    cluster.patch("b", "T", set("w", "2"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    cluster.rename("a", "S", "user").unwrap();
    cluster.run(Duration::from_secs(1));
    cluster.patch("b", "user", set("x", "3"));
    let replaced = cluster.at("b", |engine, now| {
        engine.rename(&key("T"), &key("user"), InUse::Replace, now)
    });
    replaced.unwrap();
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "user", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.value(at, "T", "w").as_deref(), Some("2"), "at {at}");
        assert_eq!(cluster.value(at, "user", "x"), None, "at {at}");
    }
}

#[test]
fn of_two_sessions_renamed_to_one_id_in_a_cut_one_gets_its_old_id_back() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "S", set("v", "1"));
    cluster.patch("b", "T", set("w", "2"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(10));
    cluster.rename("a", "S", "user").unwrap();
    cluster.run(Duration::from_secs(1));
    cluster.rename("b", "T", "user").unwrap();
    cluster.patch("b", "user", set("x", "of T"));
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b", "c"] {
        assert_eq!(cluster.value(at, "user", "v").as_deref(), Some("1"), "at {at}");
        assert_eq!(cluster.value(at, "user", "w"), None, "at {at}");
        assert_eq!(cluster.value(at, "T", "w").as_deref(), Some("2"), "at {at}");
        assert_eq!(cluster.value(at, "T", "x").as_deref(), Some("of T"), "at {at}");
        assert_eq!(cluster.value(at, "S", "v"), None, "at {at}");
    }
}

#[test]
fn a_session_that_gets_its_old_id_back_still_says_which_ids_it_had_before() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a"], &["b"]);
    cluster.run(Duration::from_secs(10));
    cluster.patch("b", "user", set("w", "2"));
    cluster.run(Duration::from_secs(1));
    cluster.rename("a", "S", "T").unwrap();
    cluster.rename("a", "T", "user").unwrap();
    cluster.heal();
    cluster.run(Duration::from_secs(15));
    for at in ["a", "b"] {
        let record = cluster.at(at, |engine, now| engine.session(&key("T"), now).cloned());
        let origin = record.unwrap().lifecycle.renamed_from.clone().unwrap();
        let mut names = origin.value.names.iter();
        assert!(names.any(|name| &*name.id == "S"), "at {at}: {origin:?}");
    }
}

#[test]
fn a_change_that_may_overtake_the_beginning_of_its_session_tells_it() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "x", set("v", "1"));
    for (key, change) in cluster.changes("a", "b") {
        cluster.at("b", |engine, now| engine.join(&key, &change, now));
    }
    let tells = |cluster: &mut Cluster| {
        cluster.patch("b", "x", set("w", "2"));
        let changes = cluster.changes("b", "c");
        changes.iter().any(|(_, change)| change.max_inactive.is_some())
    };
    assert!(tells(&mut cluster));
    cluster.run(Duration::from_secs(4));
    assert!(!tells(&mut cluster));
}
