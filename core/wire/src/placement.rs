//! Replica placement: which nodes hold a session, by rendezvous hashing (highest random weight; Thaler and
//! Ravishankar 1998).
//!
//! Every node has a score for every session; the nodes with the highest scores hold it. When a node leaves, only its
//! own sessions move; when one joins, only those for which it now has the highest score. Nothing is stored and the
//! order of the node list does not matter, so a filter and a core that know the same nodes agree without a message.
//! How many replicas there are, and which nodes may hold one, is decided by the callers.

/// The hash state of one session, from which the score of every node is computed.
#[derive(Debug, Clone, Copy)]
pub struct Scores(u64);

impl Scores {
    /// The hash state of the session `(app, id)`.
    #[must_use]
    pub fn of(app: &str, id: &str) -> Self {
        Self(hash(hash(0xcbf2_9ce4_8422_2325, app), id))
    }

    /// The score of `node`: FNV-1a over app, id and node, each ended by a zero byte, then the finaliser of
    /// SplitMix64, because FNV alone leaves the high bits of similar inputs alike.
    #[must_use]
    pub fn node(self, node: &str) -> u64 {
        let mut hash = hash(self.0, node);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

/// The score of `node` for the session `(app, id)`.
#[must_use]
pub fn score(node: &str, app: &str, id: &str) -> u64 {
    Scores::of(app, id).node(node)
}

fn hash(start: u64, part: &str) -> u64 {
    part.bytes().chain([0]).fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Sorts `nodes` for the session `(app, id)`, highest score first; equal scores by name.
pub fn rank<T: AsRef<str>>(nodes: &mut [T], app: &str, id: &str) {
    let scores = Scores::of(app, id);
    nodes.sort_by_cached_key(|node| {
        let name = node.as_ref();
        (std::cmp::Reverse(scores.node(name)), name.to_owned())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_the_list_does_not_matter() {
        let mut one = vec!["a", "b", "c", "d"];
        let mut two = vec!["d", "b", "a", "c"];
        rank(&mut one, "default", "S1");
        rank(&mut two, "default", "S1");
        assert_eq!(one, two);
    }

    #[test]
    fn a_leaving_node_moves_only_its_own() {
        for n in 0..200 {
            let id = format!("S{n}");
            let mut all = vec!["a", "b", "c", "d"];
            rank(&mut all, "default", &id);
            let mut without: Vec<_> = all.iter().copied().filter(|node| *node != "c").collect();
            let expected = without.clone();
            rank(&mut without, "default", &id);
            assert_eq!(without, expected, "{id}");
        }
    }

    #[test]
    fn sessions_spread_evenly() {
        let nodes = ["node1", "node2", "node3", "node4"];
        let mut firsts = std::collections::BTreeMap::new();
        for n in 0..8_000 {
            let mut order = nodes;
            rank(&mut order, "default", &format!("session-{n}"));
            *firsts.entry(order[0]).or_insert(0_u32) += 1;
        }
        for (node, count) in firsts {
            assert!(
                (1_800..=2_200).contains(&count),
                "{node} is first for {count} of 8000"
            );
        }
    }
}
