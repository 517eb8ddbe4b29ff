//! Placement in `backup` mode: which nodes hold a session.
//!
//! They are the primary, which is the node of the worker the session is bound to, and the `copies` other nodes with the
//! highest scores for it (rendezvous hashing, [`limpet_wire::placement`]); without a primary, one more of those. Nodes
//! with the same view of members and workers come to the same answer without asking each other.
//!
//! Moving sessions when the view changes belongs to [`crate::engine`].

use std::collections::BTreeMap;

use limpet_wire::placement::Scores;

use crate::base::id::{NodeId, SessionKey};

/// The most copies a session may have beside its primary.
pub const COPIES_MAX: usize = 8;

/// The members and workers that placement depends on, as they are known at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Nodes that hold sessions, ordered by name, this one included.
    ready: Vec<NodeId>,
    /// Nodes that will: they are still receiving the sessions they are to hold.
    joining: Vec<NodeId>,
    /// The node of each worker, by route.
    owners: BTreeMap<String, NodeId>,
    copies: usize,
}

/// Nodes that hold a session, the primary first where it has one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders<'v>(Vec<&'v NodeId>);

impl Holders<'_> {
    /// Whether `node` is one of them.
    #[must_use]
    pub fn contains(&self, node: &NodeId) -> bool {
        self.0.contains(&node)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.0.iter().copied()
    }
}

impl View {
    /// A view; `copies` is cut to [`COPIES_MAX`].
    #[must_use]
    pub fn new(
        mut ready: Vec<NodeId>,
        mut joining: Vec<NodeId>,
        owners: BTreeMap<String, NodeId>,
        copies: usize,
    ) -> Self {
        ready.sort_unstable();
        joining.sort_unstable();
        let copies = copies.min(COPIES_MAX);
        Self {
            ready,
            joining,
            owners,
            copies,
        }
    }

    /// The nodes that hold the session.
    #[must_use]
    pub fn holders(&self, key: &SessionKey, route: Option<&str>) -> Holders<'_> {
        self.choose(key, route, self.ready.iter())
    }

    /// The nodes that will hold the session once those that are joining are ready.
    #[must_use]
    pub fn holders_to_be(&self, key: &SessionKey, route: Option<&str>) -> Holders<'_> {
        self.choose(key, route, self.ready.iter().chain(&self.joining))
    }

    /// How many nodes hold a session beside its primary.
    #[must_use]
    pub const fn copies(&self) -> usize {
        self.copies
    }

    /// The nodes that hold sessions.
    pub fn ready(&self) -> impl Iterator<Item = &NodeId> {
        self.ready.iter()
    }

    /// Whether `node` is one of them.
    #[must_use]
    pub fn is_ready(&self, node: &NodeId) -> bool {
        self.ready.binary_search(node).is_ok()
    }

    /// Whether any node is joining.
    #[must_use]
    pub fn has_joining(&self) -> bool {
        !self.joining.is_empty()
    }

    /// The nodes to ask for a session of which nothing is known, likeliest first: those that hold it whatever it is
    /// bound to, then `spare` more, which may have held it before a node joined.
    #[must_use]
    pub fn likely(&self, key: &SessionKey, spare: usize) -> Vec<NodeId> {
        let scores = Scores::of(key.app(), key.id());
        let mut nodes: Vec<_> = self.ready.iter().collect();
        nodes.sort_by_cached_key(|node| (std::cmp::Reverse(scores.node(node.as_str())), (*node).clone()));
        nodes.truncate(self.copies + 1 + spare);
        nodes.into_iter().cloned().collect()
    }

    /// Whether `node` holds the session whatever it is bound to.
    #[must_use]
    pub fn is_certain_holder(&self, node: &NodeId, key: &SessionKey) -> bool {
        self.likely(key, 0)
            .iter()
            .take(self.copies)
            .any(|likely| likely == node)
    }

    fn choose<'v>(
        &'v self,
        key: &SessionKey,
        route: Option<&str>,
        nodes: impl Iterator<Item = &'v NodeId> + Clone,
    ) -> Holders<'v> {
        let owner = route.and_then(|route| self.owners.get(route));
        let primary = owner.and_then(|owner| nodes.clone().find(|node| *node == owner));
        let others = self.copies + usize::from(primary.is_none());
        let scores = Scores::of(key.app(), key.id());
        // The best few of many: kept in order while going through them once.
        let mut best: Vec<(u64, &NodeId)> = Vec::with_capacity(others + 1);
        for node in nodes.filter(|node| Some(*node) != primary) {
            let score = scores.node(node.as_str());
            let position =
                best.partition_point(|(other, name)| *other > score || (*other == score && *name < node));
            if position < others {
                best.insert(position, (score, node));
                best.truncate(others);
            }
        }
        Holders(
            primary
                .into_iter()
                .chain(best.into_iter().map(|(_, node)| node))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn view(nodes: &[&str], copies: usize) -> View {
        let ready: Vec<_> = nodes.iter().map(|name| node(name)).collect();
        let owners = ready
            .iter()
            .map(|node| (format!("w-{node}"), node.clone()))
            .collect();
        View::new(ready, Vec::new(), owners, copies)
    }

    fn key(n: usize) -> SessionKey {
        SessionKey::parse("default", &format!("S{n}")).unwrap()
    }

    #[test]
    fn the_primary_and_as_many_others_as_configured() {
        let view = view(&["a", "b", "c", "d", "e"], 2);
        for n in 0..100 {
            let holders = view.holders(&key(n), Some("w-c"));
            assert_eq!(holders.iter().next(), Some(&node("c")));
            assert_eq!(holders.iter().count(), 3);
            assert_eq!(view.holders(&key(n), None).iter().count(), 3);
            assert_eq!(view.holders(&key(n), Some("nobody's")).iter().count(), 3);
        }
    }

    #[test]
    fn the_others_are_those_a_filter_would_fall_back_to() {
        let view = view(&["a", "b", "c", "d"], 1);
        for n in 0..100 {
            let mut ranked = ["a", "b", "d"];
            limpet_wire::placement::rank(&mut ranked, "default", &format!("S{n}"));
            let key = key(n);
            let holders = view.holders(&key, Some("w-c"));
            assert_eq!(holders.iter().nth(1), Some(&node(ranked[0])));
        }
    }

    #[test]
    fn when_a_node_goes_only_its_own_sessions_move() {
        let (five, four) = (
            view(&["a", "b", "c", "d", "e"], 1),
            view(&["a", "b", "c", "d"], 1),
        );
        for n in 0..500 {
            let key = key(n);
            let before = five.holders(&key, Some("w-a"));
            if !before.contains(&node("e")) {
                assert_eq!(before, four.holders(&key, Some("w-a")));
            }
        }
    }

    #[test]
    fn whoever_is_asked_first_for_an_unknown_session_holds_it_whatever_it_is_bound_to() {
        let view = view(&["a", "b", "c", "d", "e"], 1);
        for n in 0..200 {
            let key = key(n);
            let first = view.likely(&key, 0).remove(0);
            assert!(view.is_certain_holder(&first, &key));
            for route in ["w-a", "w-b", "w-c", "w-d", "w-e", "nobody's"] {
                assert!(view.holders(&key, Some(route)).contains(&first), "{route}");
            }
        }
    }

    #[test]
    fn a_small_cluster_holds_everything_everywhere() {
        let view = view(&["a", "b"], 3);
        assert_eq!(view.holders(&key(1), None).iter().count(), 2);
    }
}
