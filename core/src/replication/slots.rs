//! Where a change lies in the outboxes of the nodes that are to hold it; several changes as one.
//!
//! A caller may make several changes at once and wait for all of them. They may lie on several lanes, and (where not
//! every node holds every session) with several sets of nodes. A node holds the whole only when it has acknowledged
//! every slot of it.

use smallvec::SmallVec;

use super::lanes::Place;
use crate::base::id::NodeId;

/// The nodes that are to hold the same changes. Few: there is one list for every change that is made.
pub type Holders = SmallVec<[Holder; 2]>;

/// One node that is to hold changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The node.
    pub node: NodeId,
    /// What it must acknowledge: at most one slot per lane, the last one.
    pub places: SmallVec<[Place; 1]>,
    /// Whether something was dropped on the way to it: then it never counts.
    pub lost: bool,
}

impl Holder {
    /// The node `node`, for a change at `place`; `None` where it was dropped.
    fn of(node: NodeId, place: Option<Place>) -> Self {
        Self {
            node,
            places: place.into_iter().collect(),
            lost: place.is_none(),
        }
    }

    /// One more change. Slots rise, so of one lane the greater one stands for both; a dropped change stays dropped.
    fn add(&mut self, place: Option<Place>) {
        let Some((lane, slot)) = place else {
            self.lost = true;
            return;
        };
        match self.places.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, known)) => *known = slot.max(*known),
            None => self.places.push((lane, slot)),
        }
    }

    /// The changes of both.
    fn merge(&mut self, other: Self) {
        self.lost |= other.lost;
        other.places.into_iter().for_each(|place| self.add(Some(place)));
    }
}

/// Where changes lie, by the set of nodes that are to hold them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    groups: SmallVec<[Holders; 1]>,
    /// Whether this node keeps some of them only until others have them; it is no copy then.
    passing: bool,
}

impl Slots {
    /// One change, and where it lies for each node that is to hold it; `None` where it was dropped.
    pub fn of(places: impl IntoIterator<Item = (NodeId, Option<Place>)>) -> Self {
        let mut holders: Holders = places
            .into_iter()
            .map(|(node, place)| Holder::of(node, place))
            .collect();
        holders.sort_by(|a, b| a.node.cmp(&b.node));
        Self {
            groups: SmallVec::from_iter([holders]),
            passing: false,
        }
    }

    /// One more change: `places` as for [`Self::of`], in the order of the nodes; `passing`, whether this node keeps it
    /// only until others have it.
    pub fn add(&mut self, places: &[(&NodeId, Option<Place>)], passing: bool) {
        self.passing |= passing;
        let same = |known: &&mut Holders| {
            let nodes = known.iter().map(|holder| &holder.node);
            nodes.eq(places.iter().map(|(node, _)| *node))
        };
        match self.groups.iter_mut().find(same) {
            Some(known) => {
                let holders = known.iter_mut().zip(places);
                holders.for_each(|(holder, (_, place))| holder.add(*place));
            }
            None => self.groups.push(
                places
                    .iter()
                    .map(|(node, place)| Holder::of((*node).clone(), *place))
                    .collect(),
            ),
        }
    }

    /// How many copies this node is.
    #[must_use]
    pub fn copies_here(&self) -> usize {
        usize::from(!self.passing)
    }

    /// These changes and those of `other`, as one.
    pub fn merge(&mut self, other: Self) {
        self.passing |= other.passing;
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

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn changes_on_two_lanes_keep_a_slot_of_each() {
        let mut all = Slots::of([(node("b"), Some((0, 10)))]);
        all.merge(Slots::of([(node("b"), Some((1, 3)))]));
        all.merge(Slots::of([(node("b"), Some((0, 12)))]));
        assert_eq!(all.groups()[0][0].places[..], [(0, 12), (1, 3)]);
        assert!(!all.groups()[0][0].lost);
    }

    #[test]
    fn changes_that_are_added_lie_where_merged_ones_do() {
        let places = [Some((0, 10)), Some((1, 3)), None, Some((0, 12))];
        let (mut added, mut merged) = (Slots::default(), Slots::default());
        for place in places {
            added.add(&[(&node("b"), place), (&node("c"), Some((0, 1)))], false);
            merged.merge(Slots::of([(node("b"), place), (node("c"), Some((0, 1)))]));
        }
        added.add(&[(&node("c"), Some((0, 2)))], true);
        assert_eq!(added.groups()[..1], *merged.groups());
        assert_eq!((added.groups().len(), added.copies_here()), (2, 0));
    }

    #[test]
    fn a_dropped_change_stays_dropped_whatever_follows() {
        let mut all = Slots::of([(node("b"), None)]);
        all.merge(Slots::of([(node("b"), Some((0, 12)))]));
        assert!(all.groups()[0][0].lost);
    }

    #[test]
    fn changes_that_different_nodes_hold_are_not_mixed() {
        let mut all = Slots::of([(node("b"), Some((0, 1)))]);
        all.merge(Slots::of([(node("c"), Some((0, 1)))]));
        assert_eq!(all.groups().len(), 2);
        all.merge(Slots::default());
        assert_eq!(all.groups().len(), 2, "nothing changed, nothing to wait for");
    }
}
