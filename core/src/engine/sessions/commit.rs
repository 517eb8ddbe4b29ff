//! The commit of a change: joined into the table and put into the outboxes of its targets, in one call. A target that keeps
//! the session counts as a copy.
//!
//! ```text
//! commit ─► join (table, events, expiry, placement digests) ─► targets ─► outboxes ─► write set
//! ```
//! The write set holds the positions of the change in those outboxes; [`Engine::wait_for`] waits for their
//! acknowledgements.
//! What a change is belongs to [`super::write`]; sending to [`crate::engine::peers`].

use std::time::Duration;

use smallvec::SmallVec;

use super::Written;
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::WAITERS_MAX;
use crate::engine::backup::placement::Location;
use crate::engine::changed::Changed;
use crate::engine::peers::note_overflow;
use crate::engine::{Engine, Output};
use crate::replication::acks::{DeliveryStatus, Level, Waiter};
use crate::replication::position::{StreamId, StreamPosition, StreamRange};
use crate::replication::write_set::WriteSet;
use crate::session::{Record, Stamp};

/// How many outputs are searched for an equal one.
const OUTPUTS_SEEN: usize = 8;

impl Engine {
    /// Waits for copies of a change. `Err` holds the count when there is nothing to wait for, or 1 when [`WAITERS_MAX`]
    /// callers wait already.
    ///
    /// # Errors
    /// The number of copies.
    pub fn wait_for(
        &mut self,
        level: Level,
        timeout: Duration,
        write_set: WriteSet,
        now: Now,
    ) -> Result<Waiter, usize> {
        if self.acks.len() >= WAITERS_MAX {
            return Err(1);
        }
        // Between the change and this call some of it may have been settled already.
        let peers = &self.peers;
        let delivery_status = |node: &NodeId, range: Option<StreamRange>| match (peers.get(node), range) {
            (None, _) => DeliveryStatus::Gone,
            (Some(peer), Some(range)) => peer.delivery_status(range),
            (Some(_), None) => DeliveryStatus::Pending,
        };
        let holders = write_set.groups().iter().flatten();
        let awaited: SmallVec<[_; 2]> = holders
            .flat_map(|holder| {
                holder
                    .ranges
                    .iter()
                    .map(|range| (holder.node.clone(), range.stream))
            })
            .collect();
        let waiter = self
            .acks
            .wait(level, now.mono + timeout, write_set, delivery_status)?;
        let wake = awaited
            .into_iter()
            .map(|(node, stream)| Output::Wake(node, stream));
        self.outputs.extend(wake);
        Ok(waiter)
    }

    /// Joins a change of this node and puts it into every peer's outbox.
    pub(in crate::engine) fn commit(
        &mut self,
        key: &SessionKey,
        delta: Record,
        stamp: Stamp,
        now: Now,
    ) -> Written {
        let before = self.location(key);
        self.commit_from(key, &before, delta, stamp, now)
    }

    /// Like [`Self::commit`], for a session whose location was `before`.
    pub(in crate::engine) fn commit_from(
        &mut self,
        key: &SessionKey,
        before: &Location,
        delta: Record,
        stamp: Stamp,
        now: Now,
    ) -> Written {
        let earlier = self.earlier_ends(key, &delta);
        let mut written = self.commit_one(key, before, delta, stamp, now);
        for (key, end) in earlier {
            let before = self.location(&key);
            let end = self.commit_one(&key, &before, end, stamp, now);
            written.write_set.merge(end.write_set);
        }
        written
    }

    /// The same, under one id.
    fn commit_one(
        &mut self,
        key: &SessionKey,
        before: &Location,
        delta: Record,
        stamp: Stamp,
        now: Now,
    ) -> Written {
        self.join(key, &delta, now);
        let targets = self.targets(key, before);
        let in_transit = targets.as_ref().is_some_and(|targets| !targets.stays_here);
        let roster = self.members.roster();
        let reached = self.peers.iter_mut().filter_map(|(node, peer)| {
            let stays = match &targets {
                None => true,
                Some(targets) => targets.stays_at(node)?, // or else it holds no copy
            };
            let member = roster
                .get(node)
                .is_some_and(|member| member.active && !member.leaving);
            // A peer that is neither repairs itself later. Only members count as copies: a peer that is merely linked
            // may not be a member yet, and one that will hand the session off is no copy for long.
            (member || peer.is_linked()).then_some((node, peer, member && stays))
        });
        let (mut reached, mut delta) = (reached.peekable(), delta);
        let ends = targets.is_some() && !delta.is_alive() && delta.lifecycle.last_end() > Stamp::ZERO;
        let mut owed = Vec::new();
        let mut positions = SmallVec::<[_; 2]>::new();
        while let Some((node, peer, is_copy)) = reached.next() {
            let own = if reached.peek().is_some() {
                delta.clone()
            } else {
                std::mem::take(&mut delta)
            };
            let position = peer.outboxes.push(key, own);
            match position {
                Some(position) if peer.is_up(position.stream) => {
                    signal_changes(&mut self.outputs, node, position.stream);
                }
                Some(_) => {}
                None => note_overflow(&mut self.acks, &mut self.outputs, node, peer),
            }
            if ends {
                owed.push((node.clone(), position));
            }
            if is_copy {
                positions.push((node, position));
            }
        }
        self.backup.tombstones.add_sent(key, owed.into_iter());
        let mut write_set = WriteSet::default();
        self.gathered
            .as_mut()
            .unwrap_or(&mut write_set)
            .add(&positions, in_transit);
        Written {
            key: key.clone(),
            life: stamp,
            version: stamp,
            write_set,
        }
    }

    /// Makes several changes and returns one write set for all. The write set of each single change is empty.
    pub fn gather(&mut self, changes: impl FnOnce(&mut Self)) -> WriteSet {
        self.gathered = Some(WriteSet::default());
        changes(self);
        self.gathered.take().unwrap_or_default()
    }

    /// Puts a record into one peer's outbox; says where it lies there, unless it was dropped.
    pub(in crate::engine) fn push(
        &mut self,
        node: &NodeId,
        key: &SessionKey,
        record: &Record,
    ) -> Option<StreamPosition> {
        let peer = self.peers.get_mut(node)?;
        let position = peer.outboxes.push(key, record.clone());
        match position {
            Some(position) if peer.is_up(position.stream) => {
                signal_changes(&mut self.outputs, node, position.stream);
            }
            Some(_) => {}
            None => note_overflow(&mut self.acks, &mut self.outputs, node, peer),
        }
        position
    }

    /// Like [`Self::push`], for what can wait: only where there is room for it.
    pub(in crate::engine) fn push_if_room(
        &mut self,
        node: &NodeId,
        key: &SessionKey,
        record: &Record,
    ) -> Option<StreamPosition> {
        let peer = self.peers.get(node)?;
        let fits = peer.outboxes.has_room_for(key, record);
        fits.then(|| self.push(node, key, record)).flatten()
    }

    /// Joins a change of one id, whoever it comes from; says whether that changed anything. What it means for other ids is
    /// [`Engine::join`]'s.
    pub(super) fn join_here(&mut self, key: &SessionKey, delta: &Record, now: Now) -> bool {
        let location = self.location(key);
        let known = self.before_change(key);
        if self
            .table
            .get(key)
            .is_some_and(|known| known.lingers_under(delta))
        {
            self.table.drop_expired_contents(key);
        }
        let change = self.table.join(key, delta, self.config.max_inactive);
        if self.events.replicated {
            self.tell_former_holders(key, &location, delta);
        }
        if !change.changed {
            if change.new {
                self.table.forget(key); // the delta had no effect
            }
            return false;
        }
        if self.feed.push(key, delta) {
            self.outputs.push(Output::Committed);
        }
        self.counters.created += u64::from(!change.was_alive && change.is_alive && !key.is_reserved());
        self.counters.ended += u64::from(change.was_alive && !change.is_alive);
        if delta.max_inactive.is_some() {
            let idle = self.table.get(key).and_then(|known| known.max_inactive.as_ref());
            let idle = idle.map(|r| r.value);
            self.touches.hurry(key, idle, self.config.touch_interval);
        }
        self.moved_from(key, &location);
        self.schedule_expiry(key, change, now);
        if let Some(known) = known {
            self.tell_change(key, &known, now);
        }
        if key.is_reserved() {
            self.changed.note(Changed::RESERVED);
        }
        true
    }
}

/// Emits [`Output::Changes`] unless an equal one is among the last outputs: one report is many changes.
fn signal_changes(outputs: &mut Vec<Output>, node: &NodeId, stream: StreamId) {
    let is_equal =
        |output: &Output| matches!(output, Output::Changes(other, on) if on == &stream && other == node);
    if !outputs.iter().rev().take(OUTPUTS_SEEN).any(is_equal) {
        outputs.push(Output::Changes(node.clone(), stream));
    }
}
