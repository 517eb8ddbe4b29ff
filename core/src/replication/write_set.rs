//! The write set of one or several changes: the nodes that are to hold them, and their positions in those nodes'
//! outboxes.
//!
//! A caller may make several changes and wait for all of them. They may take several streams and, where not every node
//! holds every session, have several sets of holders. A node holds the whole once it has acknowledged every position.
//!
//! Waiting is in [`super::acks`].

use smallvec::SmallVec;

use super::position::{StreamPosition, StreamRange};
use crate::base::id::NodeId;

/// The nodes that are to hold the same changes. Few, and kept inline: there is one list for every change.
pub type Holders = SmallVec<[Holder; 2]>;

/// One node that is to hold changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// What it has to acknowledge, a range for each stream.
    pub ranges: SmallVec<[StreamRange; 1]>,
    /// Whether something was dropped on the way to it. It then never counts.
    pub lost: bool,
}

impl Holder {
    /// `node`, for a change at `position`; `None` where it was dropped.
    fn of(node: NodeId, position: Option<StreamPosition>) -> Self {
        Self {
            node,
            ranges: position.map(StreamRange::from).into_iter().collect(),
            lost: position.is_none(),
        }
    }

    /// Adds a change. A dropped change stays dropped.
    fn add(&mut self, position: Option<StreamPosition>) {
        match position {
            Some(position) => self.add_range(position.into()),
            None => self.lost = true,
        }
    }

    fn add_range(&mut self, range: StreamRange) {
        let mut known = self.ranges.iter_mut();
        match known.find(|known| known.stream == range.stream) {
            Some(known) => *known = known.with(range),
            None => self.ranges.push(range),
        }
    }

    /// The changes of both.
    fn merge(&mut self, other: Self) {
        self.lost |= other.lost;
        other.ranges.into_iter().for_each(|range| self.add_range(range));
    }
}

/// See the module page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteSet {
    groups: SmallVec<[Holders; 1]>,
    /// Whether this node holds some of them only until others do. It is then no copy.
    in_transit: bool,
}

impl WriteSet {
    /// One change, and where it lies for each node that is to hold it; `None` where it was dropped.
    pub fn of(positions: impl IntoIterator<Item = (NodeId, Option<StreamPosition>)>) -> Self {
        let mut holders: Holders = positions
            .into_iter()
            .map(|(node, position)| Holder::of(node, position))
            .collect();
        holders.sort_by(|a, b| a.node.cmp(&b.node));
        Self {
            groups: SmallVec::from_iter([holders]),
            in_transit: false,
        }
    }

    /// One more change: `places` as for [`Self::of`], in the order of the nodes; `in_transit`, whether this node keeps it
    /// only until others have it.
    pub fn add(&mut self, positions: &[(&NodeId, Option<StreamPosition>)], in_transit: bool) {
        self.in_transit |= in_transit;
        let same = |known: &&mut Holders| {
            let nodes = known.iter().map(|holder| &holder.node);
            nodes.eq(positions.iter().map(|(node, _)| *node))
        };
        match self.groups.iter_mut().find(same) {
            Some(known) => {
                let holders = known.iter_mut().zip(positions);
                holders.for_each(|(holder, (_, position))| holder.add(*position));
            }
            None => self.groups.push(
                positions
                    .iter()
                    .map(|(node, position)| Holder::of((*node).clone(), *position))
                    .collect(),
            ),
        }
    }

    /// How many copies this node is.
    #[must_use]
    pub fn copies_here(&self) -> usize {
        usize::from(!self.in_transit)
    }

    /// These changes and those of `other`, as one.
    pub fn merge(&mut self, other: Self) {
        self.in_transit |= other.in_transit;
        for holders in other.groups {
            let same =
                |known: &&mut Holders| known.iter().map(|h| &h.node).eq(holders.iter().map(|h| &h.node));
            match self.groups.iter_mut().find(same) {
                Some(known) => known.iter_mut().zip(holders).for_each(|(a, b)| a.merge(b)),
                None => self.groups.push(holders),
            }
        }
    }

    /// The nodes of each set.
    #[must_use]
    pub fn groups(&self) -> &[Holders] {
        &self.groups
    }

    /// The nodes of each set.
    pub fn into_groups(self) -> impl Iterator<Item = Holders> {
        self.groups.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::position::{Sequence, StreamId};

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn at(stream: u8, sequence: u64) -> StreamPosition {
        StreamPosition::new(StreamId::new(stream), Sequence::new(sequence))
    }

    #[test]
    fn changes_on_two_streams_keep_a_range_on_each() {
        let mut all = WriteSet::of([(node("b"), Some(at(0, 10)))]);
        all.merge(WriteSet::of([(node("b"), Some(at(1, 3)))]));
        all.merge(WriteSet::of([(node("b"), Some(at(0, 12)))]));
        let first = StreamRange::from(at(0, 10)).with(at(0, 12).into());
        assert_eq!(all.groups()[0][0].ranges[..], [first, at(1, 3).into()]);
        assert!(!all.groups()[0][0].lost);
    }

    #[test]
    fn adding_changes_equals_merging_them() {
        let positions = [Some(at(0, 10)), Some(at(1, 3)), None, Some(at(0, 12))];
        let (mut added, mut merged) = (WriteSet::default(), WriteSet::default());
        for position in positions {
            added.add(&[(&node("b"), position), (&node("c"), Some(at(0, 1)))], false);
            merged.merge(WriteSet::of([(node("b"), position), (node("c"), Some(at(0, 1)))]));
        }
        added.add(&[(&node("c"), Some(at(0, 2)))], true);
        assert_eq!(added.groups()[..1], *merged.groups());
        assert_eq!((added.groups().len(), added.copies_here()), (2, 0));
    }

    #[test]
    fn a_dropped_change_stays_dropped_whatever_follows() {
        let mut all = WriteSet::of([(node("b"), None)]);
        all.merge(WriteSet::of([(node("b"), Some(at(0, 12)))]));
        assert!(all.groups()[0][0].lost);
    }

    #[test]
    fn changes_that_different_nodes_hold_are_not_mixed() {
        let mut all = WriteSet::of([(node("b"), Some(at(0, 1)))]);
        all.merge(WriteSet::of([(node("c"), Some(at(0, 1)))]));
        assert_eq!(all.groups().len(), 2);
        all.merge(WriteSet::default());
        assert_eq!(all.groups().len(), 2, "nothing changed, nothing to wait for");
    }
}
