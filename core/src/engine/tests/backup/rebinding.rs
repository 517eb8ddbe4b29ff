//! Sessions that are bound to another worker: nobody who held them takes himself for a holder for longer, and whoever asks
//! finds the new primary.

use super::*;

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

impl Cluster {
    /// Binds a session at a node to that node's worker.
    fn bind(&mut self, at: &str, id: &str) {
        assert!(self.make_local(at, id));
        self.at(at, |engine, now| engine.bind(&key(id), at, now)).unwrap();
    }

    fn route(&self, at: &str, id: &str) -> Option<String> {
        let record = self.engines[&node(at)].table().get(&key(id))?;
        Some(record.route.as_ref()?.value.to_string())
    }
}

#[test]
fn a_node_that_knows_an_earlier_binding_finds_the_new_primary() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &EIGHT);
    let mut ranked = EIGHT;
    limpet_wire::placement::rank(&mut ranked, "default", "S1");
    let [first, .., asked, now_bound, then_bound] = ranked;
    cluster.patch(then_bound, "S1", bound(then_bound));
    cluster.run(Duration::from_secs(20));
    assert!(cluster.make_local(asked, "S1"));
    cluster.bind(now_bound, "S1");
    cluster.patch(now_bound, "S1", set("v", "2"));
    cluster.settle();
    assert_eq!(
        cluster.value(asked, "S1", "v").as_deref(),
        Some("1"),
        "it was not told"
    );
    cluster.stop(first);
    cluster.run(Duration::from_millis(300));
    assert!(cluster.make_local(asked, "S1"));
    assert_eq!(cluster.value(asked, "S1", "v").as_deref(), Some("2"));
}

#[test]
fn of_two_nodes_that_bind_a_session_at_once_one_learns_that_it_is_no_holder() {
    let mut cluster = cluster(1);
    let [first, _, third, fourth, _] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    assert!(cluster.make_local(third, "S1") && cluster.make_local(fourth, "S1"));
    for at in [third, fourth] {
        cluster
            .at(at, |engine, now| engine.bind(&key("S1"), at, now))
            .unwrap();
    }
    cluster.settle();
    let holds = cluster.route(first, "S1");
    assert!(holds.is_some());
    for at in [third, fourth] {
        assert_eq!(cluster.route(at, "S1"), holds, "at {at}");
    }
}

/// A session is bound to the worker of `e`, which joins again, and cannot finish while it does not reach `d`. For nothing but
/// the binding `e` would hold it.
fn joining_again() -> (Cluster, String) {
    let mut cluster = cluster(1);
    let is_last = |id: &String| Cluster::ranked(id)[4] == "e";
    let id = (0..).map(|n| format!("S{n}")).find(is_last).unwrap();
    cluster.patch("e", &id, bound("e"));
    cluster.run(Duration::from_secs(2));
    cluster.stop("e");
    cluster.run(Duration::from_secs(15));
    cluster
        .cut
        .extend([(node("e"), node("d")), (node("d"), node("e"))]);
    cluster.start("e");
    cluster.run(Duration::from_secs(5));
    assert!(matches!(
        cluster.engines[&node("e")].phase(),
        Phase::Joining { .. }
    ));
    let route = cluster.route("e", &id);
    assert_eq!(route.as_deref(), Some("e"), "it has got its part");
    (cluster, id)
}

#[test]
fn a_node_that_joins_learns_that_a_session_was_bound_to_another() {
    let (mut cluster, id) = joining_again();
    cluster.bind("a", &id);
    cluster.settle();
    assert_eq!(cluster.route("e", &id).as_deref(), Some("a"));
}

#[test]
fn a_node_that_joins_learns_it_from_others_if_the_one_that_bound_it_does_not_reach_it() {
    let (mut cluster, id) = joining_again();
    cluster.bind("d", &id);
    cluster.settle();
    assert_eq!(cluster.route("e", &id).as_deref(), Some("d"));
}

/// The node that is asked first knows an earlier life alone.
#[test]
fn an_old_tombstone_is_not_taken_for_the_end_of_a_later_life() {
    let mut cluster = cluster(1);
    let [first, second, .., fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(1));
    cluster
        .at(first, |engine, now| engine.delete(&key("S1"), now))
        .unwrap();
    cluster.run(Duration::from_secs(1));
    let rest: Vec<_> = NODES.into_iter().filter(|name| *name != first).collect();
    cluster.part(&[first], &rest);
    cluster.run(Duration::from_secs(10));
    assert!(cluster.make_local(second, "S1"));
    cluster.patch(second, "S1", set("v", "2"));
    cluster.run(Duration::from_secs(10));
    cluster.heal();
    cluster.settle();
    assert!(cluster.make_local(fifth, "S1"));
    assert_eq!(cluster.value(fifth, "S1", "v").as_deref(), Some("2"));
}

#[test]
fn one_node_that_would_have_it_knows_that_there_is_no_such_session() {
    let mut cluster = cluster(1);
    cluster.run(Duration::from_secs(20));
    let [.., fifth] = Cluster::ranked("S1");
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node(fifth)).unwrap();
    let id = engine.fetch(&key("S1"), now).unwrap().unwrap();
    let asked = NODES.into_iter().filter(|other| {
        let said = engine.says(&node(other), CONTROL);
        said.iter()
            .any(|message| matches!(message, message::Message::Fetch { .. }))
    });
    let asked: Vec<_> = asked.collect();
    let [first, ..] = Cluster::ranked("S1");
    assert_eq!(asked, [first], "the others are asked if that one does not know");
    cluster.at(first, |engine, now| {
        engine.on_fetch(&node(fifth), id, &key("S1"), now)
    });
    cluster.settle();
    assert_eq!(cluster.fetched.remove(&(node(fifth), id)), Some(true));
}
