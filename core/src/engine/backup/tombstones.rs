//! Tombstones owed to holders, in `backup` mode: the ends of sessions that their holders may not have been sent.
//!
//! Every holder of a session gets its tombstone, also one that was unreachable when the session ended, and whoever ended
//! it: a holder that ends a session may be none a moment later, and then no comparison of tables tells the others. A
//! tombstone is owed until the holder acknowledged it. Who the holders are is decided by [`super::placement`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::Engine;
use crate::replication::acks::DeliveryStatus;
use crate::replication::position::StreamPosition;
use crate::session::{Record, Stamp};

/// How many tombstones one tick looks at, sent or still to be acknowledged.
pub(in crate::engine) const TOMBSTONES_PER_TICK: usize = 256;
/// How long after all were looked at they are looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// See the module page. At most one entry per session of the table.
#[derive(Debug, Default)]
pub(in crate::engine) struct Tombstones {
    /// The holders that have not acknowledged the tombstone, and its position in the outbox of each it was sent to.
    owed: BTreeMap<SessionKey, BTreeMap<NodeId, Option<StreamPosition>>>,
    next: Duration,
    /// The tombstone looked at last, while there are more.
    after: Option<SessionKey>,
    /// Whether some were not sent for want of room in an outbox.
    wait_for_room: bool,
}

impl Tombstones {
    /// `holders` are owed the tombstone of `key`.
    pub(in crate::engine) fn add(&mut self, key: SessionKey, holders: Vec<NodeId>) {
        if holders.is_empty() {
            return;
        }
        let owed = self.owed.entry(key).or_default();
        for node in holders {
            owed.entry(node).or_insert(None);
        }
    }

    /// The tombstone of `key` was sent, and lies at these positions; nowhere where an outbox dropped it.
    pub(in crate::engine) fn add_sent(
        &mut self,
        key: &SessionKey,
        sent: impl Iterator<Item = (NodeId, Option<StreamPosition>)>,
    ) {
        let mut sent = sent.peekable();
        if sent.peek().is_some() {
            self.owed.entry(key.clone()).or_default().extend(sent);
        }
    }
}

impl Engine {
    /// The nodes that are owed a tombstone.
    pub fn nodes_owed_tombstones(&self) -> impl Iterator<Item = &NodeId> {
        self.backup.tombstones.owed.values().flat_map(BTreeMap::keys)
    }

    /// The sessions whose tombstones these changes bring, as far as they are not known here.
    pub(in crate::engine) fn tombstones_in(&self, changes: &[(SessionKey, Record)]) -> Vec<SessionKey> {
        if self.backup.placement.is_none() {
            return Vec::new();
        }
        let nothing = Record::default();
        let unknown = changes.iter().filter(|(key, record)| {
            let known = self.table.get(key).unwrap_or(&nothing);
            !record.is_alive() && record.lifecycle.adds_to(&known.lifecycle)
        });
        unknown.map(|(key, _)| key.clone()).collect()
    }

    /// What is known here of the ends of lives of `key` follows from what happened to another id. Its holders may not
    /// know of that, and are owed it.
    pub(in crate::engine) fn owe_ends(&mut self, key: &SessionKey) {
        let Some(placement) = &self.backup.placement else {
            return;
        };
        let holders = placement.view().holders(key, None);
        let others = holders.iter().filter(|node| **node != self.config.node);
        let others: Vec<_> = others.cloned().collect();
        self.backup.tombstones.add(key.clone(), others);
    }

    /// `from` sent the tombstones of these sessions. A node that is none of their holders forwards them: it got them
    /// because `from` sees fewer nodes.
    pub(in crate::engine) fn forward_tombstones(&mut self, from: &NodeId, ended: Vec<SessionKey>) {
        let Some(placement) = &self.backup.placement else {
            return;
        };
        for key in ended {
            let holders = placement.view().holders(&key, None);
            if !holders.contains(&self.config.node) {
                let others = holders.iter().filter(|node| *node != from);
                let others: Vec<_> = others.cloned().collect();
                self.backup.tombstones.add(key, others);
            }
        }
    }

    /// Sends owed tombstones to the holders that can be reached: the change itself may have been dropped with a member
    /// that was down. They may be many: some each tick, in turn.
    pub(in crate::engine) fn send_tombstones(&mut self, now: Now) {
        if self.backup.tombstones.owed.is_empty() || now.mono < self.backup.tombstones.next {
            return;
        }
        let after = self.backup.tombstones.after.take();
        let after = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.backup.tombstones.owed.range((after, Bound::Unbounded));
        let some: Vec<_> = some
            .take(TOMBSTONES_PER_TICK)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &some {
            self.send_tombstone(key);
        }
        if some.len() == TOMBSTONES_PER_TICK {
            self.backup.tombstones.after = some.last().cloned();
        } else if !std::mem::take(&mut self.backup.tombstones.wait_for_room) {
            self.backup.tombstones.next = now.mono + PAUSE;
        }
    }

    fn send_tombstone(&mut self, key: &SessionKey) {
        let Some(mut holders) = self.backup.tombstones.owed.remove(key) else {
            return;
        };
        let record = match self.table.get(key) {
            // Begun again: those that were not told hold what is over with what is new.
            Some(record) if record.is_alive() && record.lifecycle.last_end() > Stamp::ZERO => record.ends(),
            Some(record) if !record.is_alive() => record.lifecycle_and_route(),
            _ => return, // forgotten
        };
        let view = self.backup.placement.as_ref().map(|placement| placement.view());
        // A node that is gone is owed it again when it comes back (see [`super::placement`]).
        holders.retain(|node, _| view.is_some_and(|view| view.is_ready(node)));
        holders.retain(|node, sent| {
            let delivery_status =
                sent.and_then(|position| Some(self.peers.get(node)?.delivery_status(position.into())));
            match delivery_status {
                Some(DeliveryStatus::Held) => return false,
                Some(DeliveryStatus::Pending) => return true,
                _ => *sent = None,
            }
            if self.can_answer(node) {
                *sent = self.push_if_room(node, key, &record);
                self.backup.tombstones.wait_for_room |= sent.is_none();
            }
            true
        });
        if !holders.is_empty() {
            self.backup.tombstones.owed.insert(key.clone(), holders);
        }
    }
}
