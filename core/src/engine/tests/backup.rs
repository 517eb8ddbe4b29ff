//! `backup` mode: each session at its primary and a few others, found from everywhere, kept complete as nodes come
//! and go.

mod borrowed;
mod cut_off;
mod leaving;
mod rebinding;
mod tombstones;

use super::*;
use crate::session::Record;

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn cluster(copies: usize) -> Cluster {
    Cluster::in_mode(Mode::Backup { copies }, &NODES)
}

fn bound(to: &str) -> Patch {
    Patch {
        route: Some(to.to_owned()),
        ..set("v", "1")
    }
}

impl Cluster {
    /// Reads or changes a session as the API does: fetched first, where that is needed.
    fn make_local(&mut self, at: &str, id: &str) -> bool {
        let now = self.now();
        let engine = self.engines.get_mut(&node(at)).unwrap();
        if !engine.must_fetch(&key(id), now) {
            return true;
        }
        let Ok(fetch) = engine.fetch(&key(id), now) else {
            return false;
        };
        let Some(fetch) = fetch else { return true };
        for _ in 0..40 {
            self.settle();
            if let Some(answered) = self.fetched.remove(&(node(at), fetch)) {
                return answered;
            }
            self.run(Duration::from_millis(50));
        }
        panic!("a fetch never ends");
    }

    fn holders(&self, id: &str) -> Vec<String> {
        let holds = |engine: &&Engine| engine.table().get(&key(id)).is_some_and(Record::is_alive);
        let holders = self.engines.values().filter(holds);
        holders.map(|engine| engine.node().to_string()).collect()
    }

    /// The nodes in the order in which they hold a session that is bound to none.
    fn ranked(id: &str) -> [&'static str; 5] {
        let mut ranked = NODES;
        limpet_wire::placement::rank(&mut ranked, "default", id);
        ranked
    }

    /// Its process is gone: its address refuses connections.
    pub(in crate::engine) fn stop(&mut self, name: &str) {
        let gone = node(name);
        self.engines.remove(&gone);
        self.timers.retain(|(_, owner, _)| *owner != gone);
        self.links
            .retain(|(from, to, ..), _| *from != gone && *to != gone);
        let duplicates: Vec<_> = self.engines.keys().cloned().collect();
        for other in duplicates {
            self.down(&other, &gone, true);
        }
    }
}

#[test]
fn a_session_rests_at_its_primary_and_the_configured_number_of_others() {
    let mut cluster = cluster(1);
    for n in 0..40 {
        cluster.patch("c", &format!("S{n}"), bound("c"));
    }
    cluster.run(Duration::from_secs(2));
    for n in 0..40 {
        let holders = cluster.holders(&format!("S{n}"));
        assert_eq!(holders.len(), 2, "S{n}: {holders:?}");
        assert!(holders.contains(&"c".to_owned()), "S{n}: {holders:?}");
    }
}

#[test]
fn every_node_answers_for_every_session_and_keeps_none_that_is_not_its_own() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    let holders = cluster.holders("S1");
    for at in NODES {
        assert!(cluster.make_local(at, "S1"));
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("1"), "at {at}");
        assert!(
            cluster.make_local(at, "none"),
            "everybody answers that there is none"
        );
        assert_eq!(cluster.value(at, "none", "v"), None);
    }
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.holders("S1"), holders);
}

#[test]
fn a_change_at_a_node_that_is_no_holder_reaches_the_holders() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    let holders = cluster.holders("S1");
    let at = NODES
        .into_iter()
        .find(|name| !holders.contains(&(*name).to_owned()))
        .unwrap();
    assert!(cluster.make_local(at, "S1"));
    let write_set = cluster.patch(at, "S1", set("w", "2"));
    assert_eq!(write_set.groups()[0].len(), 2, "both holders are to have it");
    cluster.settle();
    for holder in &holders {
        assert_eq!(
            cluster.value(holder, "S1", "w").as_deref(),
            Some("2"),
            "at {holder}"
        );
    }
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.holders("S1"), holders);
}

/// Both holders are gone; the one node that has the session left is no holder, and is using it all the time.
#[test]
fn a_session_in_use_where_it_is_not_held_is_given_to_its_new_holders_all_the_same() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let [first, second, .., at] = Cluster::ranked("S1");
    assert!(cluster.make_local(at, "S1"));
    cluster.stop(first);
    cluster.stop(second);
    for n in 0..10 {
        cluster.run(Duration::from_secs(1));
        if cluster.make_local(at, "S1") {
            cluster.patch(at, "S1", set("n", &n.to_string()));
        }
    }
    let complete = |engine: &&Engine| engine.table().get(&key("S1")).is_some_and(Record::is_complete);
    let complete = cluster.engines.values().filter(complete).count();
    assert_eq!(
        complete, 3,
        "both holders have all of it, and the node that uses it"
    );
}

#[test]
fn when_a_node_dies_missing_copies_are_made_again() {
    let mut cluster = cluster(1);
    for n in 0..60 {
        let at = NODES[n % 5];
        cluster.patch(at, &format!("S{n}"), bound(at));
    }
    cluster.run(Duration::from_secs(2));
    cluster.stop("c");
    cluster.run(Duration::from_secs(60));
    for n in 0..60 {
        let id = format!("S{n}");
        assert_eq!(cluster.holders(&id).len(), 2, "{id}: {:?}", cluster.holders(&id));
        assert!(cluster.make_local("a", &id));
        assert_eq!(cluster.value("a", &id, "v").as_deref(), Some("1"), "{id}");
    }
}

#[test]
fn when_a_node_joins_it_gets_its_share_and_others_give_theirs_up() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &NODES[..4]);
    for n in 0..60 {
        let at = NODES[n % 4];
        cluster.patch(at, &format!("S{n}"), bound(at));
    }
    cluster.run(Duration::from_secs(2));
    let before: Vec<_> = (0..60).map(|n| cluster.holders(&format!("S{n}"))).collect();
    cluster.start("e");
    cluster.run(Duration::from_secs(20));
    let mut moved = 0;
    for (n, before) in before.iter().enumerate() {
        let holders = cluster.holders(&format!("S{n}"));
        assert_eq!(holders.len(), 2, "S{n}: {holders:?}, before {before:?}");
        moved += usize::from(holders != *before);
    }
    assert!((2..30).contains(&moved), "{moved} of 60 moved");
    let received = cluster.engines[&node("e")].counters().transfer_sessions_received;
    assert!(received < 60, "{received} were sent to the new node");
}

#[test]
fn a_takeover_makes_the_new_node_primary_and_the_old_one_forgets() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local("d", "S1"));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("d")).unwrap();
    engine.bind(&key("S1"), "d", now).unwrap();
    cluster.run(Duration::from_secs(12));
    let holders = cluster.holders("S1");
    assert_eq!(holders.len(), 2, "{holders:?}");
    assert!(holders.contains(&"d".to_owned()), "{holders:?}");
}

#[test]
fn changes_on_both_sides_of_a_cut_are_together_at_the_holders_when_it_heals() {
    let mut cluster = cluster(2);
    for n in 0..20 {
        cluster.patch("a", &format!("S{n}"), bound("a"));
    }
    cluster.run(Duration::from_secs(1));
    cluster.part(&["a", "b"], &["c", "d", "e"]);
    cluster.run(Duration::from_secs(30));
    for n in 0..20 {
        let id = format!("S{n}");
        cluster.patch("a", &id, set("left", "1"));
        // The other side takes over those it has.
        if cluster.make_local("c", &id) && cluster.value("c", &id, "v").is_some() {
            cluster.patch(
                "c",
                &id,
                Patch {
                    route: Some("c".into()),
                    ..set("right", "2")
                },
            );
        }
    }
    cluster.run(Duration::from_secs(30));
    cluster.heal();
    cluster.run(Duration::from_secs(40));
    for n in 0..20 {
        let id = format!("S{n}");
        let holders = cluster.holders(&id);
        assert_eq!(holders.len(), 3, "{id}: {holders:?}");
        for at in &holders {
            assert_eq!(
                cluster.value(at, &id, "left").as_deref(),
                Some("1"),
                "{id} at {at}"
            );
        }
        let right: BTreeSet<_> = holders.iter().map(|at| cluster.value(at, &id, "right")).collect();
        assert_eq!(right.len(), 1, "{id}: {right:?}");
    }
    for engine in cluster.engines.values() {
        assert_eq!(engine.misplaced().count(), 0, "at {}", engine.node());
    }
}

#[test]
fn a_node_that_only_passes_a_session_on_counts_itself_as_no_copy() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    let holders = cluster.holders("S1");
    let at = NODES
        .into_iter()
        .find(|name| !holders.contains(&(*name).to_owned()))
        .unwrap();
    assert!(cluster.make_local(at, "S1"));
    let write_set = cluster.patch(at, "S1", set("w", "2"));
    cluster.settle();
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(at)).unwrap();
    assert_eq!(
        engine.wait_for(Level::All, Duration::from_secs(1), write_set, now),
        Err(2)
    );
}

/// One such session does not fit into an outbox, and many smaller ones do not fit together.
#[test]
fn sessions_that_do_not_fit_into_an_outbox_are_handed_over_all_the_same() {
    let mut cluster = Cluster::new();
    cluster.mode = Mode::Backup { copies: 1 };
    cluster.queue_bytes = 4000;
    let mut cluster = cluster.begin(&NODES);
    for n in 0..30 {
        let id = format!("S{n}");
        let [.., at] = Cluster::ranked(&id);
        let size = if n % 3 == 0 { 6000 } else { 1000 };
        assert!(cluster.make_local(at, &id));
        cluster.patch(at, &id, set("v", &"x".repeat(size)));
    }
    cluster.run(Duration::from_secs(30));
    for n in 0..30 {
        let id = format!("S{n}");
        let [first, second, ..] = Cluster::ranked(&id);
        let holders: BTreeSet<_> = cluster.holders(&id).into_iter().collect();
        assert_eq!(holders, [first, second].map(str::to_owned).into(), "{id}");
        assert_eq!(cluster.value(first, &id, "v"), cluster.value(second, &id, "v"));
    }
}

#[test]
fn a_session_in_use_is_forgotten_elsewhere_though_its_holders_know_more_each_time() {
    let mut cluster = cluster(1);
    let [first, second, .., at] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(at, "S1"));
    for n in 0..40 {
        cluster.run(Duration::from_millis(200));
        cluster.patch(first, "S1", set("n", &n.to_string()));
    }
    let holders: BTreeSet<_> = cluster.holders("S1").into_iter().collect();
    assert_eq!(holders, [first, second].map(str::to_owned).into());
}

/// So many that handing them over takes longer than members and workers need to settle.
#[test]
fn sessions_on_their_way_to_their_holders_are_not_taken_for_ended_there() {
    let mut cluster = cluster(1);
    cluster.part(&["a", "b", "c"], &["d", "e"]);
    cluster.run(Duration::from_secs(10));
    let ids = (0..).map(|n| format!("S{n}"));
    let misplaced = |id: &String| {
        !Cluster::ranked(id)[..2]
            .iter()
            .any(|name| matches!(*name, "d" | "e"))
    };
    let ids: Vec<_> = ids.filter(misplaced).take(12_000).collect();
    for id in &ids {
        cluster.patch("d", id, set("v", "1"));
        cluster.settle();
    }
    cluster.heal();
    for second in 0..30 {
        cluster.run(Duration::from_secs(1));
        for id in &ids {
            let [first, ..] = Cluster::ranked(id);
            let engine = &cluster.engines[&node(first)];
            let asks = engine.must_fetch(&key(id), cluster.now());
            assert!(
                asks || cluster.value(first, id, "v").is_some(),
                "{id} is unknown at {first} after {second} s"
            );
        }
    }
}

#[test]
fn a_use_while_a_session_is_being_handed_over_is_not_lost_with_it() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let [first, .., at] = Cluster::ranked("S1");
    assert!(cluster.make_local(at, "S1"));
    let mut last_ms = 0;
    for step in 0..200 {
        cluster.elapsed += Duration::from_millis(50);
        let now = cluster.now();
        let engine = cluster.engines.get_mut(&node(at)).unwrap();
        engine.tick(now);
        if step < 80 && engine.touch(&key("S1"), now).is_ok() {
            last_ms = now.wall_ms;
        }
        cluster.settle();
    }
    let last_touch = |at| cluster.engines[&node(at)].table().get(&key("S1"))?.last_touch;
    assert_eq!(last_touch(at), None, "it was handed over");
    assert_eq!(
        last_touch(first).map(|last_touch| last_touch.at_ms),
        Some(last_ms)
    );
}
