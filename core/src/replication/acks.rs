//! Who waits for how many copies. The count never says too many: a peer counts once it has acknowledged the slot
//! that carries the change, and not before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::outbox::Slot;
use crate::base::id::NodeId;

/// How many copies a caller wants before its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// This node's.
    #[default]
    None,
    /// One more than this node's, where there is another node.
    One,
    /// A majority of the members, this node included.
    Quorum,
    /// Every member's.
    All,
}

impl Level {
    /// The level called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "one" => Self::One,
            "quorum" => Self::Quorum,
            "all" => Self::All,
            _ => return None,
        })
    }

    /// How many copies that is among `members` nodes.
    const fn needed(self, members: usize) -> usize {
        match self {
            Self::None => 1,
            Self::One if members < 2 => members,
            Self::One => 2,
            Self::Quorum => members / 2 + 1,
            Self::All => members,
        }
    }
}

/// Names a waiting caller.
pub type Waiter = u64;

/// For each peer, the slot that carries the change; `None` where it was dropped and will have to be repaired.
pub type Slots = Vec<(NodeId, Option<Slot>)>;

#[derive(Debug)]
struct Wait {
    level: Level,
    deadline: Duration,
    missing: Slots,
    copies: usize,
}

impl Wait {
    fn is_done(&self) -> bool {
        self.copies >= self.level.needed(self.copies + self.missing.len())
    }
}

/// Every waiting caller.
#[derive(Debug, Default)]
pub struct Acks {
    waits: BTreeMap<Waiter, Wait>,
    next: Waiter,
}

impl Acks {
    /// A caller waits for `level` copies of a change until `deadline`; `copies` there are, `missing` there are not
    /// yet. `Err` holds the count at once if that is enough.
    ///
    /// # Errors
    /// The number of copies, when there is nothing to wait for.
    pub fn wait(
        &mut self,
        level: Level,
        deadline: Duration,
        copies: usize,
        missing: Slots,
    ) -> Result<Waiter, usize> {
        let wait = Wait {
            level,
            deadline,
            missing,
            copies,
        };
        if wait.is_done() {
            return Err(wait.copies);
        }
        self.next += 1;
        self.waits.insert(self.next, wait);
        Ok(self.next)
    }

    /// `peer` has everything up to `slot`. Returns who is done, with the count.
    pub fn acknowledged(&mut self, peer: &NodeId, slot: Slot) -> Vec<(Waiter, usize)> {
        self.settle(|wait| {
            let before = wait.missing.len();
            wait.missing
                .retain(|(node, wanted)| node != peer || wanted.is_none_or(|wanted| wanted > slot));
            wait.copies += before - wait.missing.len();
        })
    }

    /// What was on its way to `peer` up to `slot` was dropped, or refused by it: it will never count.
    pub fn dropped(&mut self, peer: &NodeId, slot: Slot) {
        for wait in self.waits.values_mut() {
            for (_, wanted) in wait.missing.iter_mut().filter(|(node, _)| node == peer) {
                wanted.take_if(|wanted| *wanted <= slot);
            }
        }
    }

    /// `peer` is no member any more: nobody waits for it. Returns who is done.
    pub fn gone(&mut self, peer: &NodeId) -> Vec<(Waiter, usize)> {
        self.settle(|wait| wait.missing.retain(|(node, _)| node != peer))
    }

    /// Returns who has waited long enough, with the count that is true now.
    pub fn expired(&mut self, now: Duration) -> Vec<(Waiter, usize)> {
        let due: Vec<_> = self
            .waits
            .iter()
            .filter(|(_, w)| w.deadline <= now)
            .map(|(id, w)| (*id, w.copies))
            .collect();
        for (id, _) in &due {
            self.waits.remove(id);
        }
        due
    }

    /// How many callers wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waits.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    fn settle(&mut self, mut update: impl FnMut(&mut Wait)) -> Vec<(Waiter, usize)> {
        let mut done = Vec::new();
        self.waits.retain(|id, wait| {
            update(wait);
            let finished = wait.is_done();
            if finished {
                done.push((*id, wait.copies));
            }
            !finished
        });
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn slots(count: usize) -> Slots {
        ["b", "c", "d", "e"]
            .iter()
            .take(count)
            .map(|n| (node(n), Some(10)))
            .collect()
    }

    const LATER: Duration = Duration::from_secs(1);

    #[test]
    fn each_level_waits_for_its_count_of_five_nodes() {
        for (level, answers) in [(Level::One, 1), (Level::Quorum, 2), (Level::All, 4)] {
            let mut acks = Acks::default();
            let waiter = acks.wait(level, LATER, 1, slots(4)).unwrap();
            for (n, peer) in ["b", "c", "d", "e"].iter().enumerate().take(answers) {
                let done = acks.acknowledged(&node(peer), 10);
                let expected = if n + 1 == answers {
                    vec![(waiter, answers + 1)]
                } else {
                    vec![]
                };
                assert_eq!(done, expected, "{level:?} after {peer}");
            }
        }
        assert_eq!(Acks::default().wait(Level::None, LATER, 1, slots(4)), Err(1));
        assert_eq!(Acks::default().wait(Level::All, LATER, 1, slots(0)), Err(1));
    }

    #[test]
    fn an_older_slot_is_no_copy() {
        let mut acks = Acks::default();
        acks.wait(Level::All, LATER, 1, slots(1)).unwrap();
        assert_eq!(acks.acknowledged(&node("b"), 9), []);
        assert_eq!(acks.expired(LATER), [(1, 1)]);
    }

    #[test]
    fn a_node_that_left_is_not_waited_for_and_not_counted() {
        let mut acks = Acks::default();
        let waiter = acks.wait(Level::All, LATER, 1, slots(2)).unwrap();
        assert_eq!(acks.acknowledged(&node("b"), 10), []);
        assert_eq!(acks.gone(&node("c")), [(waiter, 2)]);
    }

    #[test]
    fn a_dropped_change_is_never_counted_as_a_copy() {
        let mut acks = Acks::default();
        let waiter = acks.wait(Level::All, LATER, 1, vec![(node("b"), None)]).unwrap();
        assert_eq!(acks.acknowledged(&node("b"), 1000), []);
        assert_eq!(acks.expired(LATER), [(waiter, 1)]);
    }

    #[test]
    fn a_change_that_was_refused_is_no_copy_though_later_ones_are() {
        let mut acks = Acks::default();
        let waiter = acks.wait(Level::All, LATER, 1, slots(1)).unwrap();
        acks.dropped(&node("b"), 10);
        assert_eq!(acks.acknowledged(&node("b"), 11), []);
        assert_eq!(acks.expired(LATER), [(waiter, 1)]);
    }
}
