//! Sessions that are larger than a frame, because many nodes filled them at the same time.

use super::*;
use crate::base::limits::FRAME_MAX;
use crate::session::{Attributes, Record, Register, Stamp, Value};

/// The most bytes of one attribute.
const VALUE: usize = limpet_wire::report::VALUE_MAX;

/// A session that does not fit into a frame. Its attributes share one value, so it takes little memory.
fn oversized() -> Record {
    let stamp = Stamp::at(BEGIN_MS);
    let value = Value::from(vec![b'v'; VALUE]);
    let attribute = |n: usize| {
        let register = Register {
            life: stamp,
            stamp,
            value: Some(value.clone()),
        };
        (format!("a{n}").into(), register)
    };
    Record {
        max_inactive: Some(Register {
            life: stamp,
            stamp,
            value: IdleLimit::Forever,
        }),
        attributes: (0..FRAME_MAX / VALUE + 2).map(attribute).collect::<Attributes>(),
        ..Record::default()
    }
}

fn names(cluster: &Cluster, at: &str) -> usize {
    let record = cluster.engines[&node(at)].table().get(&key("S1"));
    record.map_or(0, |record| record.attributes.len())
}

fn roomy(mode: Mode) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.mode = mode;
    cluster.queue_bytes = 4 * FRAME_MAX;
    cluster
}

#[test]
fn its_change_reaches_the_peer_and_is_acknowledged() {
    let mut cluster = roomy(Mode::Delta).begin(&["a", "b"]);
    let now = cluster.now();
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    let written = a.commit(&key("S1"), oversized(), Stamp::at(BEGIN_MS), now);
    let waiter = a
        .wait_for(Level::All, Duration::from_secs(60), written.write_set, now)
        .unwrap();
    cluster.settle();
    assert_eq!(names(&cluster, "b"), oversized().attributes.len());
    assert_eq!(cluster.copies.get(&(node("a"), waiter)), Some(&2));
}

#[test]
fn a_joining_node_receives_it() {
    let mut cluster = roomy(Mode::Delta).begin(&["a"]);
    let now = cluster.now();
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    a.commit(&key("S1"), oversized(), Stamp::at(BEGIN_MS), now);
    cluster.patch("a", "S2", set("v", "1"));
    cluster.start("b");
    cluster.relink();
    cluster.run(Duration::from_secs(10));
    assert_eq!(names(&cluster, "b"), oversized().attributes.len());
    cluster.assert_converged();
}

#[test]
fn a_node_that_holds_no_copy_can_fetch_it() {
    let mut cluster = roomy(Mode::Backup { copies: 1 }).begin(&["a", "b", "c"]);
    let now = cluster.now();
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    a.commit(&key("S1"), oversized(), Stamp::at(BEGIN_MS), now);
    cluster.run(Duration::from_secs(30));
    let without: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .filter(|at| names(&cluster, at) == 0)
        .collect();
    assert_eq!(without.len(), 1, "one primary or likeliest node and one copy");
    let at = node(without[0]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&at).unwrap();
    assert!(engine.must_fetch(&key("S1"), now));
    engine.fetch(&key("S1"), now).unwrap();
    cluster.settle();
    assert_eq!(names(&cluster, without[0]), oversized().attributes.len());
}
