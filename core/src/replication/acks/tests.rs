//! What counts as a copy, and what never does.

use super::*;
use crate::replication::position::StreamPosition;

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn write_set(count: usize) -> WriteSet {
    let nodes = ["b", "c", "d", "e"].iter().take(count);
    WriteSet::of(nodes.map(|name| (node(name), Some(at(0, 10)))))
}

fn at(stream: u8, sequence: u64) -> StreamPosition {
    StreamPosition::new(StreamId::new(stream), Sequence::new(sequence))
}

/// `peer` has everything up to `position`.
fn acknowledge(acks: &mut Acks, peer: &str, position: StreamPosition) -> Vec<(Waiter, usize)> {
    acks.acknowledged(&node(peer), position.stream, position.sequence)
}

fn pending(_: &NodeId, _: Option<StreamRange>) -> DeliveryStatus {
    DeliveryStatus::Pending
}

fn nothing_left(acks: &Acks) -> bool {
    let mut waiting = acks.by_stream.values();
    waiting.all(|waiting| waiting.by_last.is_empty() && waiting.by_first.is_empty())
}

const LATER: Duration = Duration::from_secs(1);

#[test]
fn each_level_waits_for_its_count_of_five_nodes() {
    for (level, answers) in [(Level::One, 1), (Level::Quorum, 2), (Level::All, 4)] {
        let mut acks = Acks::default();
        let waiter = acks.wait(level, LATER, write_set(4), pending).unwrap();
        for (n, peer) in ["b", "c", "d", "e"].iter().enumerate().take(answers) {
            let done = acknowledge(&mut acks, peer, at(0, 10));
            let expected = if n + 1 == answers {
                vec![(waiter, answers + 1)]
            } else {
                vec![]
            };
            assert_eq!(done, expected, "{level:?} after {peer}");
        }
        assert!(nothing_left(&acks), "nothing is left behind");
        assert!(acks.by_deadline.is_empty());
    }
    assert_eq!(
        Acks::default().wait(Level::None, LATER, write_set(4), pending),
        Err(1)
    );
    assert_eq!(
        Acks::default().wait(Level::All, LATER, write_set(0), pending),
        Err(1)
    );
    assert_eq!(
        Acks::default().wait(Level::All, LATER, WriteSet::default(), pending),
        Err(1)
    );
}

#[test]
fn an_earlier_sequence_is_no_copy() {
    let mut acks = Acks::default();
    acks.wait(Level::All, LATER, write_set(1), pending).unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(0, 9)), []);
    assert_eq!(acks.expired(LATER), [(1, 1)]);
}

#[test]
fn a_sequence_of_another_stream_is_no_copy() {
    let mut acks = Acks::default();
    let waiter = acks.wait(Level::All, LATER, write_set(1), pending).unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(1, 1000)), []);
    assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), [(waiter, 2)]);
}

#[test]
fn a_node_counts_once_it_has_the_parts_on_every_stream() {
    let mut both = WriteSet::of([(node("b"), Some(at(0, 10)))]);
    both.merge(WriteSet::of([(node("b"), Some(at(3, 4)))]));
    for [first, second] in [[at(0, 10), at(3, 4)], [at(3, 4), at(0, 10)]] {
        let mut acks = Acks::default();
        let waiter = acks.wait(Level::One, LATER, both.clone(), pending).unwrap();
        assert_eq!(acknowledge(&mut acks, "b", first), []);
        assert_eq!(acknowledge(&mut acks, "b", second), [(waiter, 2)]);
    }
}

#[test]
fn a_part_lost_on_one_stream_makes_the_whole_no_copy() {
    let mut both = WriteSet::of([(node("b"), Some(at(0, 10)))]);
    both.merge(WriteSet::of([(node("b"), Some(at(3, 4)))]));
    let mut acks = Acks::default();
    let waiter = acks.wait(Level::One, LATER, both, pending).unwrap();
    acks.dropped(&node("b"), StreamId::new(3), Sequence::MAX);
    assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), []);
    assert_eq!(acknowledge(&mut acks, "b", at(3, 10)), []);
    assert_eq!(acks.expired(LATER), [(waiter, 1)]);
}

#[test]
fn of_changes_held_by_different_nodes_the_lowest_count_holds() {
    let mut both = WriteSet::of([(node("b"), Some(at(0, 10)))]);
    both.merge(WriteSet::of([(node("c"), Some(at(0, 10)))]));
    let mut acks = Acks::default();
    let waiter = acks.wait(Level::One, LATER, both, pending).unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), [], "c holds nothing yet");
    assert_eq!(acknowledge(&mut acks, "c", at(0, 10)), [(waiter, 2)]);
}

#[test]
fn what_was_acknowledged_before_the_wait_counts() {
    let delivery_status = |node: &NodeId, range: Option<StreamRange>| match (node.as_str(), range) {
        ("b", Some(_)) => DeliveryStatus::Held,
        ("c", None) => DeliveryStatus::Gone,
        ("d", Some(_)) => DeliveryStatus::Lost,
        _ => DeliveryStatus::Pending,
    };
    let mut acks = Acks::default();
    assert_eq!(
        acks.wait(Level::One, LATER, write_set(3), delivery_status),
        Err(2)
    );
    let waiter = acks
        .wait(Level::All, LATER, write_set(3), delivery_status)
        .unwrap();
    assert_eq!(acknowledge(&mut acks, "d", at(0, 1000)), []);
    assert_eq!(acks.gone(&node("d")), [(waiter, 2)]);
}

#[test]
fn a_node_that_left_is_not_waited_for_and_not_counted() {
    let mut acks = Acks::default();
    let waiter = acks.wait(Level::All, LATER, write_set(2), pending).unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), []);
    assert_eq!(acks.gone(&node("c")), [(waiter, 2)]);
}

#[test]
fn a_dropped_change_is_never_counted_as_a_copy() {
    let mut acks = Acks::default();
    let waiter = acks
        .wait(Level::All, LATER, WriteSet::of([(node("b"), None)]), pending)
        .unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(0, 1000)), []);
    assert_eq!(acks.expired(LATER), [(waiter, 1)]);
}

#[test]
fn a_change_that_was_refused_is_no_copy_though_later_ones_are() {
    let mut acks = Acks::default();
    let waiter = acks.wait(Level::All, LATER, write_set(1), pending).unwrap();
    acks.dropped(&node("b"), StreamId::new(0), Sequence::new(10));
    assert_eq!(acknowledge(&mut acks, "b", at(0, 11)), []);
    assert_eq!(acks.expired(LATER), [(waiter, 1)]);
}

#[test]
fn a_report_of_which_one_change_was_refused_is_no_copy() {
    for refused in [10, 11, 12] {
        let mut three = WriteSet::of([(node("b"), Some(at(0, 10)))]);
        three.merge(WriteSet::of([(node("b"), Some(at(0, 11)))]));
        three.merge(WriteSet::of([(node("b"), Some(at(0, 12)))]));
        let mut acks = Acks::default();
        let waiter = acks.wait(Level::One, LATER, three.clone(), pending).unwrap();
        assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), [], "a part of it");
        acks.dropped(&node("b"), StreamId::new(0), Sequence::new(refused));
        assert_eq!(
            acknowledge(&mut acks, "b", at(0, 12)),
            [],
            "{refused} was refused"
        );
        assert_eq!(acks.expired(LATER), [(waiter, 1)]);
        assert!(acks.is_empty());

        let other = acks.wait(Level::One, LATER, three, pending).unwrap();
        acks.dropped(&node("b"), StreamId::new(0), Sequence::new(9));
        assert_eq!(
            acknowledge(&mut acks, "b", at(0, 12)),
            [(other, 2)],
            "none was refused"
        );
    }
}

#[test]
fn callers_that_wait_for_one_sequence_are_all_answered() {
    let mut acks = Acks::default();
    let first = acks.wait(Level::One, LATER, write_set(2), pending).unwrap();
    let second = acks.wait(Level::All, LATER, write_set(2), pending).unwrap();
    assert_eq!(acknowledge(&mut acks, "b", at(0, 10)), [(first, 2)]);
    assert_eq!(acknowledge(&mut acks, "c", at(0, 10)), [(second, 3)]);
    assert!(acks.is_empty());
}
