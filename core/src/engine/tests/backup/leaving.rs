//! Nodes that leave: what only they have is elsewhere before they are gone, and they answer until then.

use super::*;
use crate::replication::message::Message;

/// Runs until the node has handed everything off; panics if it takes longer than a daemon waits.
fn drain(cluster: &mut Cluster, leaving: &str) {
    for _ in 0..100 {
        if cluster.engines[&node(leaving)].is_drained() {
            return;
        }
        cluster.run(Duration::from_millis(50));
    }
    let left: Vec<_> = cluster.engines[&node(leaving)].misplaced().collect();
    panic!("{leaving} still has {left:?}");
}

#[test]
fn what_only_a_leaving_node_has_is_at_others_before_it_is_gone() {
    let mut cluster = cluster(1);
    let ids: Vec<_> = (0..).map(|n| format!("S{n}")).take(1500).collect();
    let [first, second, ..] = Cluster::ranked("S0");
    let of_both = |id: &&String| {
        let [a, b, ..] = Cluster::ranked(id);
        [a, b] == [first, second] || [b, a] == [first, second]
    };
    let ids: Vec<_> = ids.iter().filter(of_both).collect();
    assert!(ids.len() > 50, "{}", ids.len());
    for id in &ids {
        cluster.patch(first, id, set("v", "1"));
        cluster.settle();
    }
    cluster.stop(first);
    cluster.at(second, |engine, now| engine.leave(now));
    drain(&mut cluster, second);
    cluster.stop(second);
    cluster.run(Duration::from_secs(1));
    for id in ids {
        for at in NODES.into_iter().filter(|at| *at != first && *at != second) {
            assert!(cluster.make_local(at, id), "{id} at {at}");
            assert_eq!(cluster.value(at, id, "v").as_deref(), Some("1"), "{id} at {at}");
        }
    }
}

#[test]
fn a_change_that_reaches_a_leaving_node_alone_is_handed_off_as_well() {
    let mut cluster = cluster(1);
    let [first, second, third, ..] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.part(&[first], &[second]);
    cluster.patch(first, "S1", set("v", "2"));
    cluster.at(first, |engine, now| engine.leave(now));
    drain(&mut cluster, first);
    cluster.stop(first);
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(third, "S1"));
    assert_eq!(cluster.value(third, "S1", "v").as_deref(), Some("2"));
}

#[test]
fn a_leaving_node_answers_until_it_is_gone() {
    let mut cluster = cluster(1);
    let [first, .., fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster.at(first, |engine, now| engine.leave(now));
    cluster.at(first, |engine, now| {
        engine.on_fetch(&node(fifth), 7, &key("S1"), now)
    });
    let said = cluster.at(first, |engine, _| engine.says(&node(fifth), CONTROL));
    let answers = said.into_iter().filter_map(|message| match message {
        Message::Fetched {
            request: 7,
            record,
            kept,
            ..
        } => Some((record.is_some_and(|record| record.is_alive()), kept)),
        _ => None,
    });
    assert_eq!(
        answers.collect::<Vec<_>>(),
        [(true, false)],
        "what it has, which nobody keeps up to date any more"
    );
}

#[test]
fn a_node_that_leaves_alone_waits_for_nobody() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &["a"]);
    cluster.patch("a", "S1", set("v", "1"));
    cluster.at("a", |engine, now| engine.leave(now));
    cluster.run(Duration::from_millis(200));
    assert!(cluster.engines[&node("a")].is_drained());
}
