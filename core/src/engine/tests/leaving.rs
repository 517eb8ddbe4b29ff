//! A node that deletes its sessions before it leaves: some per call, in the order of keys, until none is left.

use super::*;
use crate::replication::transfer::Cursor;
use crate::session::Stamp;

const SESSIONS: usize = 2500;

/// Deletes every session of `a`; returns how many each call deleted.
fn delete_all(cluster: &mut Cluster) -> Vec<usize> {
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let mut deleted = Vec::new();
    let mut next = Some(Cursor::default());
    while let Some(from) = next {
        let before = engine.sessions();
        next = engine.delete_some(&from, now);
        deleted.push(before - engine.sessions());
    }
    deleted
}

#[test]
fn each_call_deletes_a_bounded_number_and_all_nodes_hear_of_every_one() {
    let mut cluster = Cluster::of(&["a", "b"]);
    for id in 0..SESSIONS {
        cluster.patch("a", &format!("S{id}"), set("v", "1"));
    }
    cluster.settle();
    let deleted = delete_all(&mut cluster);
    assert_eq!(deleted.iter().sum::<usize>(), SESSIONS);
    assert!(deleted.iter().all(|count| *count <= 1000), "{deleted:?}");
    cluster.settle();
    assert_eq!(cluster.engines[&node("b")].sessions(), 0);
    assert!(
        !cluster.engines[&node("b")].worker_table(0).keys.is_empty(),
        "the cluster's own sessions stay"
    );
}

#[test]
fn no_session_begins_behind_the_cursor() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.patch("a", "S", set("v", "1"));
    delete_all(&mut cluster);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let refused = engine.patch(&key("S"), set("v", "2"), now).unwrap_err();
    assert!(matches!(refused, Refused::NotReady(_)), "{refused}");
}

#[test]
fn stamps_rise_in_the_order_of_buckets_and_keys() {
    let mut cluster = Cluster::of(&["a"]);
    for id in 0..SESSIONS {
        cluster.patch("a", &format!("S{id}"), set("v", "1"));
    }
    delete_all(&mut cluster);
    let table = cluster.engines[&node("a")].table();
    let buckets = (0..).map_while(|index| table.bucket(index));
    let stamps: Vec<Stamp> = buckets
        .flat_map(|bucket| bucket.ordered(None))
        .filter(|(key, _)| !key.is_reserved())
        .map(|(_, record)| record.lifecycle.deleted)
        .collect();
    assert_eq!(stamps.len(), SESSIONS);
    assert!(stamps.is_sorted());
}
