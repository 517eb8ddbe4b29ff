//! A store behind the table: what it is fed, and what it is asked for.

use super::*;
use crate::session::{Record, Stamp};
use crate::store::{FeedBatch, Loaded};

const FEED: usize = 1 << 20;

fn committed(cluster: &mut Cluster, at: &str) -> FeedBatch {
    cluster
        .at(at, |engine, _| engine.take_committed(usize::MAX))
        .unwrap_or_default()
}

fn with_store(mode: Mode, names: &[&str]) -> Cluster {
    let mut cluster = Cluster::in_mode(mode, names);
    cluster.at(names[0], |engine, _| engine.attach_store(FEED));
    assert!(committed(&mut cluster, names[0]).is_gap, "the table itself");
    cluster
}

/// What a store kept of a session: a whole record of another time.
fn stored(value: &str) -> Record {
    let mut earlier = Cluster::of(&["z"]);
    earlier.patch("z", "S1", set("v", value));
    earlier.engines[&node("z")]
        .table()
        .get(&key("S1"))
        .unwrap()
        .clone()
}

/// Begins a fetch at `at`, which asks the store and nobody else.
fn load(cluster: &mut Cluster, at: &str) -> fetch::FetchId {
    cluster.at(at, |engine, now| {
        assert!(engine.must_fetch(&key("S1"), now));
        engine.take_outputs();
        let id = engine.fetch(&key("S1"), now).unwrap().unwrap();
        let loads: Vec<_> = engine
            .take_outputs()
            .into_iter()
            .filter(|output| matches!(output, Output::Load(asked, of) if *asked == id && *of == key("S1")))
            .collect();
        assert_eq!(loads.len(), 1);
        id
    })
}

#[test]
fn without_a_store_nothing_is_fed_and_nothing_loaded() {
    let mut cluster = Cluster::of(&["a"]);
    let outputs = cluster.at("a", |engine, now| {
        engine.patch(&key("S1"), set("v", "1"), now).unwrap();
        assert!(!engine.must_fetch(&key("S2"), now));
        engine.take_outputs()
    });
    assert!(!outputs.iter().any(|output| matches!(output, Output::Committed)));
    assert_eq!(
        cluster.at("a", |engine, _| engine.take_committed(usize::MAX)),
        None
    );
}

#[test]
fn a_store_is_fed_every_change_whoever_made_it_in_order() {
    let mut cluster = with_store(Mode::Delta, &["a", "b"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.patch("b", "S2", set("v", "1"));
    cluster.settle();
    let first = committed(&mut cluster, "a");
    let keys: Vec<_> = first.changes.iter().map(|(key, _)| key.id()).collect();
    assert_eq!((keys, first.is_gap), (vec!["S1", "S2"], false));
    cluster.at("b", |engine, now| engine.delete(&key("S1"), now).unwrap());
    cluster.settle();
    let rest = committed(&mut cluster, "a");
    assert_eq!(rest.changes.len(), 1);
    assert_ne!(rest.changes[0].1.lifecycle.deleted, Stamp::ZERO);
}

#[test]
fn the_changes_of_a_store_join_to_the_table() {
    let mut cluster = with_store(Mode::Delta, &["a", "b"]);
    for n in 0..20 {
        let at = if n % 2 == 0 { "a" } else { "b" };
        cluster.patch(at, &format!("S{}", n % 5), set(&format!("v{n}"), "1"));
        cluster.settle();
    }
    let mut kept: BTreeMap<SessionKey, Record> = BTreeMap::new();
    while let Some(batch) = cluster.at("a", |engine, _| engine.take_committed(1)) {
        for (key, delta) in batch.changes {
            kept.entry(key).or_default().join(&delta);
        }
    }
    let table = cluster.engines[&node("a")].table();
    assert!(kept.len() >= 5);
    assert!(kept.iter().all(|(key, record)| table.get(key) == Some(record)));
}

#[test]
fn a_session_that_memory_lacks_is_loaded_and_reaches_the_other_nodes() {
    let mut cluster = with_store(Mode::Delta, &["a", "b"]);
    let id = load(&mut cluster, "a");
    let found = Loaded::Found(Box::new(stored("kept")));
    cluster.at("a", |engine, now| engine.on_loaded(id, found, now));
    cluster.settle();
    assert_eq!(cluster.fetched.get(&(node("a"), id)), Some(&true));
    for at in ["a", "b"] {
        assert_eq!(cluster.value(at, "S1", "v").as_deref(), Some("kept"), "at {at}");
    }
}

#[test]
fn what_a_store_kept_never_replaces_newer_memory() {
    let mut cluster = with_store(Mode::Delta, &["a"]);
    let old = Loaded::Found(Box::new(stored("old")));
    let id = load(&mut cluster, "a");
    cluster.run(Duration::from_millis(100));
    cluster.patch("a", "S1", set("v", "new"));
    cluster.at("a", |engine, now| engine.on_loaded(id, old, now));
    cluster.settle();
    assert_eq!(cluster.value("a", "S1", "v").as_deref(), Some("new"));
    assert_eq!(cluster.fetched.get(&(node("a"), id)), Some(&true));
}

#[test]
fn a_store_that_answers_too_late_is_not_waited_for() {
    let mut cluster = with_store(Mode::Delta, &["a"]);
    let id = load(&mut cluster, "a");
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.fetched.get(&(node("a"), id)), Some(&false));
    let late = Loaded::Found(Box::new(stored("late")));
    cluster.at("a", |engine, now| engine.on_loaded(id, late, now));
    assert_eq!(cluster.value("a", "S1", "v"), None);
}

#[test]
fn a_deleted_session_is_not_asked_of_the_store() {
    let mut cluster = with_store(Mode::Delta, &["a"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.at("a", |engine, now| {
        engine.delete(&key("S1"), now).unwrap();
        assert!(!engine.must_fetch(&key("S1"), now));
    });
}

#[test]
fn what_the_store_does_not_have_is_nowhere_and_what_it_cannot_say_is_unknown() {
    for (loaded, answered) in [(Loaded::Nothing, true), (Loaded::Failed, false)] {
        let mut cluster = with_store(Mode::Delta, &["a"]);
        let id = load(&mut cluster, "a");
        cluster.at("a", |engine, now| engine.on_loaded(id, loaded, now));
        cluster.settle();
        assert_eq!(cluster.fetched.get(&(node("a"), id)), Some(&answered));
    }
}

#[test]
fn in_backup_mode_the_store_is_asked_after_the_likeliest_node() {
    let mut cluster = with_store(Mode::Backup { copies: 1 }, &["a", "b", "c"]);
    cluster.run(Duration::from_secs(30));
    let id = cluster
        .at("a", |engine, now| engine.fetch(&key("S1"), now))
        .unwrap();
    let mut loads = 0;
    for _ in 0..5 {
        cluster.settle();
        loads += cluster.loads.drain(..).count();
    }
    assert_eq!(loads, 1);
    let found = Loaded::Found(Box::new(stored("kept")));
    cluster.at("a", |engine, now| engine.on_loaded(id.unwrap(), found, now));
    cluster.settle();
    assert_eq!(cluster.value("a", "S1", "v").as_deref(), Some("kept"));
}
