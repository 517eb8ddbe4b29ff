//! Copies that nobody tells of changes: they do not answer, and are not taken for the session.

use super::*;

impl Cluster {
    fn is_kept(&self, at: &str, id: &str) -> bool {
        let engine = &self.engines[&node(at)];
        let record = engine.table().get(&key(id));
        record.is_some_and(|record| engine.is_kept(&key(id), record))
    }

    fn may_answer_alone(&self, at: &str, id: &str) -> bool {
        self.engines[&node(at)].may_answer_alone(&key(id), self.now())
    }
}

/// `S1` with `v` = 1 at its holders and borrowed by the third, and then 2 at its holders alone.
fn borrowed_and_changed() -> (Cluster, [&'static str; 5]) {
    let mut cluster = cluster(1);
    let ranked = Cluster::ranked("S1");
    let [first, _, third, ..] = ranked;
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(20));
    assert!(cluster.make_local(third, "S1"));
    assert_eq!(cluster.value(third, "S1", "v").as_deref(), Some("1"));
    cluster.patch(first, "S1", set("v", "2"));
    cluster.settle();
    (cluster, ranked)
}

#[test]
fn a_copy_that_was_fetched_does_not_answer_once_its_node_is_a_holder() {
    let (mut cluster, [first, second, third, ..]) = borrowed_and_changed();
    assert_eq!(
        cluster.value(third, "S1", "v").as_deref(),
        Some("1"),
        "it is not told of changes"
    );
    cluster.stop(first);
    cluster.settle();
    assert!(cluster.is_kept(second, "S1") && !cluster.is_kept(third, "S1"));
    assert!(!cluster.may_answer_alone(third, "S1"));
    assert!(cluster.make_local(third, "S1"));
    assert_eq!(cluster.value(third, "S1", "v").as_deref(), Some("2"));
    cluster.run(Duration::from_secs(4));
    assert!(
        cluster.is_kept(third, "S1"),
        "it has compared its table with the other holder's"
    );
}

#[test]
fn what_moves_to_another_id_with_a_borrowed_copy_is_not_kept_there() {
    let (mut cluster, [first, _, third, ..]) = borrowed_and_changed();
    let is_holder = |id: &String| Cluster::ranked(id)[..2].contains(&third);
    let new = (0..).map(|n| format!("N{n}")).find(is_holder).unwrap();
    let ends = cluster.at(first, |engine, now| {
        engine.rename(&key("S1"), &key(&new), InUse::Refuse, now).unwrap();
        engine.table().get(&key("S1")).map(Record::ends).unwrap()
    });
    // It hears of the rename under the old id first.
    cluster.at(third, |engine, now| engine.join(&key("S1"), &ends, now));
    assert_eq!(cluster.value(third, &new, "v").as_deref(), Some("1"));
    assert!(!cluster.is_kept(third, &new) && !cluster.may_answer_alone(third, &new));
    cluster.run(Duration::from_secs(8));
    assert!(cluster.is_kept(third, &new));
    assert_eq!(cluster.value(third, &new, "v").as_deref(), Some("2"));
}

#[test]
fn a_stale_copy_is_no_answer_where_who_keeps_the_session_cannot_be_reached() {
    let (mut cluster, [first, second, third, ..]) = borrowed_and_changed();
    assert!(
        cluster.may_answer_alone(third, "S1"),
        "for a moment, while nothing changes about who holds it"
    );
    cluster.stop(first);
    cluster.part(&[third], &[second]);
    cluster.settle();
    let answered = cluster.make_local(third, "S1");
    assert!(!answered && !cluster.may_answer_alone(third, "S1"));
}

#[test]
fn an_answer_that_comes_late_counts_while_others_are_still_asked() {
    let mut cluster = cluster(1);
    let [first, .., fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(fifth)).unwrap();
    let fetch = engine.fetch(&key("S1"), now).unwrap().unwrap();
    let asked = engine.says(&node(first), CONTROL);
    assert!(!asked.is_empty(), "it is on its way for long");
    cluster.elapsed += Duration::from_millis(600);
    cluster.at(fifth, |engine, now| engine.tick(now));
    for other in NODES.into_iter().filter(|other| *other != fifth) {
        cluster.at(fifth, |engine, _| engine.says(&node(other), CONTROL)); // these are lost
    }
    cluster.at(first, |engine, now| {
        engine.on_fetch(&node(fifth), fetch, &key("S1"), now);
    });
    cluster.settle();
    assert_eq!(cluster.fetched.remove(&(node(fifth), fetch)), Some(true));
    assert_eq!(cluster.value(fifth, "S1", "v").as_deref(), Some("1"));
}

/// Its changes may be lost on their way, and then a comparison brings only what is kept.
#[test]
fn a_session_that_begins_at_a_holder_is_kept_there_also_under_an_id_that_was_borrowed() {
    let (mut cluster, [_, _, third, ..]) = borrowed_and_changed();
    assert!(cluster.make_local(third, "S1"));
    cluster
        .at(third, |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    assert!(cluster.make_local(third, "S1"));
    cluster.patch(third, "S1", bound(third));
    assert!(cluster.is_kept(third, "S1"));
    cluster.run(Duration::from_millis(700));
    assert!(cluster.is_kept(third, "S1"), "nor when the offer ends");
}

#[test]
fn borrowed_copies_become_kept_ones_when_nobody_keeps_the_session_any_more() {
    let (mut cluster, [first, second, third, fourth, fifth]) = borrowed_and_changed();
    cluster.stop(first);
    cluster.stop(second);
    cluster.run(Duration::from_secs(12));
    let held: BTreeSet<_> = cluster.holders("S1").into_iter().collect();
    assert_eq!(held, [third, fourth].map(str::to_owned).into());
    assert!(cluster.is_kept(third, "S1") && cluster.is_kept(fourth, "S1"));
    assert!(cluster.make_local(fifth, "S1"));
    assert_eq!(
        cluster.value(fifth, "S1", "v").as_deref(),
        Some("1"),
        "the best there is"
    );
}
