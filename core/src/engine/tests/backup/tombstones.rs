//! How the end of a session reaches all who hold it, whoever made it and whoever was cut off meanwhile.

use super::*;
use crate::engine::backup::tombstones;

#[test]
fn a_session_deleted_while_a_holder_was_cut_off_ends_there_too() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    let holders = cluster.holders("S1");
    let other = holders.iter().find(|name| *name != "c").unwrap().clone();
    let rest: Vec<_> = NODES.into_iter().filter(|name| *name != "c").collect();
    cluster.part(&["c"], &rest);
    cluster.run(Duration::from_secs(1));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(&other)).unwrap();
    engine.delete(&key("S1"), now).unwrap();
    cluster.heal();
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}

#[test]
fn an_end_made_where_the_session_is_not_held_while_its_holders_are_cut_off_reaches_them() {
    let mut cluster = cluster(1);
    cluster.patch("c", "S1", bound("c"));
    cluster.run(Duration::from_secs(1));
    let holders = cluster.holders("S1");
    let outside: Vec<_> = NODES
        .into_iter()
        .filter(|name| !holders.contains(&(*name).to_owned()))
        .collect();
    assert!(cluster.make_local(outside[0], "S1"));
    let held: Vec<&str> = holders.iter().map(String::as_str).collect();
    cluster.part(&held, &outside);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(outside[0])).unwrap();
    engine.delete(&key("S1"), now).unwrap();
    cluster.run(Duration::from_secs(20));
    cluster.heal();
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}

#[test]
fn the_id_a_session_had_is_over_at_once_at_all_its_holders() {
    let mut cluster = cluster(1);
    for n in 0..20 {
        let (id, new) = (format!("S{n}"), format!("N{n}"));
        let [first, ..] = Cluster::ranked(&id);
        cluster.patch(first, &id, set("v", "1"));
        cluster.settle();
        let now = cluster.now();
        let engine = cluster.engines.get_mut(&node(first)).unwrap();
        let write_set = engine
            .rename(&key(&id), &key(&new), InUse::Refuse, now)
            .unwrap()
            .write_set;
        assert!(
            write_set.groups().len() <= 2,
            "the holders of one id, and those of the other"
        );
        cluster.settle();
        assert_eq!(cluster.holders(&id), Vec::<String>::new(), "{id}");
    }
}

/// The node that gave the session another id cannot reach its holders, and is gone before it can. Those that hold the
/// new id know of it.
#[test]
fn whoever_hears_of_an_end_tells_it_to_those_who_hold_the_session() {
    let mut cluster = cluster(1);
    let [first, second, .., at] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(at, "S1"));
    let others = |id: &String| {
        let [a, b, ..] = Cluster::ranked(id);
        ![first, second, at].iter().any(|node| [a, b].contains(node))
    };
    let new = (0..).map(|n| format!("N{n}")).find(others).unwrap();
    cluster.part(&[at], &[first, second]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(at)).unwrap();
    engine.rename(&key("S1"), &key(&new), InUse::Refuse, now).unwrap();
    cluster.settle();
    cluster.stop(at);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
    assert_eq!(cluster.holders(&new).len(), 2);
}

/// On their side of a cut two nodes are the holders of a session that others hold when all are there.
#[test]
fn an_end_made_by_the_holders_of_one_side_of_a_cut_reaches_those_of_the_whole_cluster() {
    let mut cluster = cluster(1);
    let [first, second, third, fourth, fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(fourth, "S1"));
    cluster.part(&[fourth, fifth], &[first, second, third]);
    cluster.run(Duration::from_secs(20));
    assert!(cluster.make_local(fifth, "S1"));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(fifth)).unwrap();
    engine.delete(&key("S1"), now).unwrap();
    cluster.run(Duration::from_secs(20));
    assert_eq!(cluster.holders("S1"), {
        let mut holders = [first.to_owned(), second.to_owned()];
        holders.sort_unstable();
        holders
    });
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}

/// All who held the session know that it has ended, and are gone before whoever had fetched it does.
#[test]
fn an_end_reaches_those_who_become_holders_just_after_it() {
    let mut cluster = cluster(1);
    let [first, second, third, fourth, fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(fourth, "S1"));
    assert!(cluster.make_local(fifth, "S1"));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(fifth)).unwrap();
    engine.delete(&key("S1"), now).unwrap();
    cluster.settle();
    cluster.stop(first);
    cluster.stop(second);
    assert_eq!(
        cluster.holders("S1"),
        [fourth.to_owned()],
        "and {third} is another"
    );
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}

/// Others are told as well, because they may have held it before it was bound, and would hand it over if it began again.
#[test]
fn an_end_has_as_many_copies_as_the_session_had() {
    let mut cluster = cluster(2);
    let [.., at] = Cluster::ranked("S1");
    cluster.patch(at, "S1", bound(at));
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.holders("S1").len(), 3);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(at)).unwrap();
    let write_set = engine.delete(&key("S1"), now).unwrap().write_set;
    assert_eq!(write_set.groups()[0].len(), 2);
    assert_eq!(write_set.copies_here(), 1);
    cluster.settle();
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}

#[test]
fn many_ends_are_told_a_few_at_a_time() {
    let mut cluster = cluster(1);
    let (deleted, others) = (20_000, NODES.map(node));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&others[0]).unwrap();
    for n in 0..deleted {
        let over = Record::tombstone(crate::session::Stamp::at(now.wall_ms));
        let key = key(&format!("S{n}"));
        engine.join(&key, &over, now);
        engine.backup.tombstones.add(key, vec![others[1].clone()]);
    }
    let (mut waiting, mut ticks) = (0, 0);
    while waiting < 3000 && ticks < 10 {
        engine.tick(now);
        ticks += 1;
        let told = engine.peers()[&others[1]].outboxes().recount().0;
        assert!(told - waiting <= tombstones::TOMBSTONES_PER_TICK);
        waiting = told;
    }
    for _ in 0..200 {
        cluster.run(Duration::from_millis(100));
        if cluster.engines[&others[1]].table().tombstones() == deleted {
            return;
        }
    }
    panic!(
        "{} of {deleted}",
        cluster.engines[&others[1]].table().tombstones()
    );
}

/// A node that passes a session on knew of an end before the session began again, and is the only one.
#[test]
fn what_is_known_of_an_end_is_handed_off_with_the_session_that_began_again() {
    let mut cluster = cluster(1);
    let [first, second, .., at] = Cluster::ranked("S1");
    let now = cluster.now();
    let over = crate::session::Stamp::at(now.wall_ms - 1000);
    let engine = cluster.engines.get_mut(&node(at)).unwrap();
    engine.join(&key("S1"), &Record::tombstone(over), now);
    cluster.patch(at, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.engines[&node(at)].table().get(&key("S1")), None);
    for holder in [first, second] {
        let known = cluster.engines[&node(holder)].table().get(&key("S1"));
        assert_eq!(
            known.map(|record| record.lifecycle.deleted),
            Some(over),
            "at {holder}"
        );
    }
}

/// A moment later it may be none, and then no comparison of tables tells the other.
#[test]
fn a_holder_that_ends_a_session_owes_it_to_the_others_until_they_have_it() {
    let mut cluster = cluster(1);
    let [first, second, ..] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(first)).unwrap();
    engine.delete(&key("S1"), now).unwrap();
    let owed: Vec<_> = engine.nodes_owed_tombstones().cloned().collect();
    assert_eq!(owed, [node(second)]);
    cluster.run(Duration::from_secs(2));
    assert_eq!(cluster.engines[&node(first)].nodes_owed_tombstones().count(), 0);
    assert_eq!(cluster.holders("S1"), Vec::<String>::new());
}
