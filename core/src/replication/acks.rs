//! Callers that wait for copies of a change, and what completes their waits.
//!
//! The count is never too high: a peer counts once it has acknowledged all that carries a part of the change and
//! refused none of it, and not before. Of changes that different nodes hold, the lowest count holds. An acknowledgement costs as
//! much as it completes, however many others wait.
//!
//! Where changes lie is in [`super::write_set`]; answering the callers belongs to [`crate::drivers`].

use std::collections::{BTreeMap, BTreeSet, HashMap}; // HashMap: looked up only, so its order is never seen
use std::time::Duration;

use smallvec::SmallVec;

use super::position::{Sequence, StreamId, StreamRange};
use super::streams::STREAMS_MAX;
use super::write_set::{Holder, Holders, WriteSet};
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
            Self::None => 0,
            Self::One if members < 2 => members,
            Self::One => 2,
            Self::Quorum => members / 2 + 1,
            Self::All => members,
        }
    }
}

/// Numbers a waiting caller.
pub type Waiter = u64;

/// What became of a change on its way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The node has not acknowledged it.
    Pending,
    /// The node has it.
    Held,
    /// It was dropped on the way, or refused: it will never be acknowledged.
    Lost,
    /// The node is no member any more.
    Gone,
}

/// How many nodes of one set have the changes that all of them are to hold.
#[derive(Debug)]
struct Progress {
    copies: usize,
    missing: Vec<Holder>,
}

#[derive(Debug)]
struct Wait {
    level: Level,
    deadline: Duration,
    groups: Vec<Progress>,
}

impl Wait {
    fn is_done(&self) -> bool {
        let done = |group: &Progress| group.copies >= self.level.needed(group.copies + group.missing.len());
        self.groups.iter().all(done)
    }

    fn copies(&self) -> usize {
        self.groups.iter().map(|group| group.copies).min().unwrap_or(1)
    }

    /// `node` has acknowledged `stream` up to `sequence`. Returns the ranges that are complete with it.
    fn note_held(
        &mut self,
        node: &NodeId,
        stream: StreamId,
        sequence: Sequence,
    ) -> SmallVec<[StreamRange; 1]> {
        let mut complete = SmallVec::new();
        for group in &mut self.groups {
            let before = group.missing.len();
            group.missing.retain_mut(|holder| {
                if holder.node == *node {
                    let held = |range: &StreamRange| range.stream == stream && range.last <= sequence;
                    complete.extend(holder.ranges.iter().copied().filter(held));
                    holder.ranges.retain(|range| !held(range));
                }
                holder.lost || !holder.ranges.is_empty()
            });
            group.copies += before - group.missing.len();
        }
        complete
    }

    /// `node` will never have all of `stream` up to `sequence`.
    fn note_lost(&mut self, node: &NodeId, stream: StreamId, sequence: Sequence) {
        let holders = self.groups.iter_mut().flat_map(|group| &mut group.missing);
        for holder in holders.filter(|holder| holder.node == *node) {
            let mut ranges = holder.ranges.iter();
            holder.lost |= ranges.any(|range| range.stream == stream && range.first <= sequence);
        }
    }
}

/// The waits for one stream.
#[derive(Debug, Default)]
struct Waiting {
    /// By the sequence that acknowledges all a caller waits for.
    by_last: BTreeSet<(Sequence, Waiter)>,
    /// By the first sequence, where that is another one.
    by_first: BTreeSet<(Sequence, Waiter)>,
}

impl Waiting {
    fn add(&mut self, range: &StreamRange, waiter: Waiter) {
        self.by_last.insert((range.last, waiter));
        if range.first < range.last {
            self.by_first.insert((range.first, waiter));
        }
    }

    fn remove(&mut self, range: &StreamRange, waiter: Waiter) {
        self.by_last.remove(&(range.last, waiter));
        self.by_first.remove(&(range.first, waiter));
    }
}

/// Removes and returns the waiters of all entries up to `sequence`.
fn take(entries: &mut BTreeSet<(Sequence, Waiter)>, sequence: Sequence) -> Vec<Waiter> {
    let mut taken = Vec::new();
    while let Some((first, waiter)) = entries.first().copied()
        && first <= sequence
    {
        entries.pop_first();
        taken.push(waiter);
    }
    taken
}

/// All waiting callers.
#[derive(Debug, Default)]
pub struct Acks {
    waits: BTreeMap<Waiter, Wait>,
    /// Who waits for what of each stream. Looked up by key alone: the order of the map, which differs from process to
    /// process, reaches no output.
    by_stream: HashMap<(NodeId, StreamId), Waiting>,
    by_deadline: BTreeSet<(Duration, Waiter)>,
    next: Waiter,
}

impl Acks {
    /// A caller waits until `deadline` for `level` copies of the changes in `write_set`. `delivery_status` says what has
    /// become of each range since the changes were made, and with `None` whether the node is a member.
    ///
    /// # Errors
    /// The number of copies, when there is nothing to wait for.
    pub fn wait(
        &mut self,
        level: Level,
        deadline: Duration,
        write_set: WriteSet,
        delivery_status: impl Fn(&NodeId, Option<StreamRange>) -> DeliveryStatus,
    ) -> Result<Waiter, usize> {
        let here = write_set.copies_here();
        let groups = write_set.into_groups();
        let groups = groups
            .map(|holders| progress(here, holders, &delivery_status))
            .collect();
        let wait = Wait {
            level,
            deadline,
            groups,
        };
        if wait.is_done() {
            return Err(wait.copies());
        }
        self.next += 1;
        for (node, range) in ranges(&wait) {
            let waiting = self.by_stream.entry((node.clone(), range.stream)).or_default();
            waiting.add(range, self.next);
        }
        self.by_deadline.insert((deadline, self.next));
        self.waits.insert(self.next, wait);
        Ok(self.next)
    }

    /// `peer` has everything of `stream` up to `sequence`. Returns the waits that are over, with their counts.
    pub fn acknowledged(
        &mut self,
        peer: &NodeId,
        stream: StreamId,
        sequence: Sequence,
    ) -> Vec<(Waiter, usize)> {
        let Some(waiting) = self.by_stream.get_mut(&(peer.clone(), stream)) else {
            return Vec::new();
        };
        let mut done = Vec::new();
        for waiter in take(&mut waiting.by_last, sequence) {
            let Some(wait) = self.waits.get_mut(&waiter) else {
                continue;
            };
            for range in wait.note_held(peer, stream, sequence) {
                waiting.remove(&range, waiter);
            }
            if wait.is_done() {
                done.push(waiter);
            }
        }
        done.into_iter()
            .filter_map(|waiter| self.finish(waiter))
            .collect()
    }

    /// Everything on its way to `peer` on `stream` up to `sequence` was dropped, or some of it refused: none of it will
    /// ever count.
    pub fn dropped(&mut self, peer: &NodeId, stream: StreamId, sequence: Sequence) {
        let Some(waiting) = self.by_stream.get_mut(&(peer.clone(), stream)) else {
            return;
        };
        let first = take(&mut waiting.by_first, sequence);
        for waiter in first.into_iter().chain(take(&mut waiting.by_last, sequence)) {
            if let Some(wait) = self.waits.get_mut(&waiter) {
                wait.note_lost(peer, stream, sequence);
            }
        }
    }

    /// Everything that was on its way to `peer` was dropped: none of it will ever count.
    pub fn dropped_all(&mut self, peer: &NodeId) {
        StreamId::first(STREAMS_MAX.into()).for_each(|stream| self.dropped(peer, stream, Sequence::MAX));
    }

    /// `peer` is no member any more: nobody waits for it. Returns the waits that are over, with their counts.
    pub fn gone(&mut self, peer: &NodeId) -> Vec<(Waiter, usize)> {
        self.by_stream.retain(|(node, _), _| node != peer);
        let mut done = Vec::new();
        for (waiter, wait) in &mut self.waits {
            for group in &mut wait.groups {
                group.missing.retain(|holder| holder.node != *peer);
            }
            if wait.is_done() {
                done.push(*waiter);
            }
        }
        done.into_iter()
            .filter_map(|waiter| self.finish(waiter))
            .collect()
    }

    /// Returns the waits whose deadline has come, with the counts of now.
    pub fn expired(&mut self, now: Duration) -> Vec<(Waiter, usize)> {
        let mut due = Vec::new();
        while let Some((deadline, waiter)) = self.by_deadline.first().copied()
            && deadline <= now
        {
            self.by_deadline.pop_first();
            due.extend(self.finish(waiter));
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

    /// Ends a wait, and removes what it still waited for from the index.
    fn finish(&mut self, waiter: Waiter) -> Option<(Waiter, usize)> {
        let wait = self.waits.remove(&waiter)?;
        self.by_deadline.remove(&(wait.deadline, waiter));
        for (node, range) in ranges(&wait) {
            if let Some(waiting) = self.by_stream.get_mut(&(node.clone(), range.stream)) {
                waiting.remove(range, waiter);
            }
        }
        Some((waiter, wait.copies()))
    }
}

fn progress(
    here: usize,
    holders: Holders,
    delivery_status: impl Fn(&NodeId, Option<StreamRange>) -> DeliveryStatus,
) -> Progress {
    let (mut copies, mut missing) = (here, Vec::new());
    for mut holder in holders {
        if delivery_status(&holder.node, None) == DeliveryStatus::Gone {
            continue;
        }
        let mut pending = SmallVec::new();
        for range in std::mem::take(&mut holder.ranges) {
            match delivery_status(&holder.node, Some(range)) {
                DeliveryStatus::Pending => pending.push(range),
                DeliveryStatus::Held => {}
                DeliveryStatus::Lost | DeliveryStatus::Gone => holder.lost = true,
            }
        }
        if pending.is_empty() && !holder.lost {
            copies += 1;
        } else {
            holder.ranges = pending;
            missing.push(holder);
        }
    }
    Progress { copies, missing }
}

/// Every range that a wait still waits for.
fn ranges(wait: &Wait) -> impl Iterator<Item = (&NodeId, &StreamRange)> {
    let holders = wait.groups.iter().flat_map(|group| &group.missing);
    holders.flat_map(|holder| holder.ranges.iter().map(|range| (&holder.node, range)))
}

#[cfg(test)]
mod tests;
