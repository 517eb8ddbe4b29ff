//! How other nodes hear that a session was used: late and together, and once more where it may have been missed.
//!
//! Uses are no part of what tables are compared by: there, every request would make a difference. So repair does not
//! bring them. A node that was lost, or whose outbox overflowed, is told every use since the last that it is known to
//! have heard of, bucket after bucket, as its outbox has room.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_wire::report::IdleLimit;

use super::Engine;
use super::expiry::ms;
use crate::base::clock::Now;
use crate::base::id::{BySession, NodeId, SessionKey};
use crate::replication::transfer::Cursor;
use crate::session::Record;
use crate::store::Deadlines;

/// How many sessions one tick looks at for one node, about; it goes on with the next.
const SESSIONS_PER_TICK: usize = 10_000;

/// Which sessions' use was told to other nodes lately, so that the next use is told later.
#[derive(Debug, Default)]
pub(super) struct Touches {
    told_ms: BySession<u64>,
    again: Deadlines,
}

impl Touches {
    /// Whether a use of `key` need not be told now.
    pub(super) fn is_told_later(&self, key: &SessionKey) -> bool {
        self.told_ms.contains_key(key)
    }

    /// The idle lifetime of `key` has changed, so the wait for telling its use may be too long: it is looked at now.
    pub(super) fn hurry(&mut self, key: &SessionKey, now_ms: u64) {
        if self.told_ms.contains_key(key) {
            self.again.add(now_ms, key.clone());
        }
    }

    /// The use of `key` at `now_ms` is being told. The next is told after `interval`, or a third of the session's
    /// idle lifetime if that is less, so that every node knows of it in time.
    pub(super) fn told(&mut self, key: SessionKey, idle: Option<IdleLimit>, interval: Duration, now_ms: u64) {
        let interval = ms(interval);
        let wait = match idle {
            Some(IdleLimit::Millis(idle)) => interval.min(idle / 3),
            _ => interval,
        };
        self.again.add(now_ms + wait, key.clone());
        self.told_ms.insert(key, now_ms);
    }
}

/// Uses a node may not have heard of.
#[derive(Debug)]
pub(super) struct Missed {
    since_ms: u64,
    /// Where telling it goes on.
    cursor: Cursor,
}

/// Who may not have heard of which uses. One entry for each node that was ever lost and is not told yet.
pub(super) type MissedUses = BTreeMap<NodeId, Missed>;

impl Engine {
    /// Tells the uses that were held back long enough.
    pub(super) fn flush_touches(&mut self, now: Now) {
        while let Some((key, _)) = self.touches.again.pop_due(self.idle.read(now)) {
            let told = self.touches.told_ms.remove(&key).unwrap_or(0);
            let Some(record) = self.table.get(&key) else {
                continue;
            };
            let Some(used) = record.used.filter(|used| used.at_ms > told && record.is_alive()) else {
                continue;
            };
            let (idle, version) = (record.max_inactive.as_ref().map(|r| r.value), record.version());
            self.touches.told(
                key.clone(),
                idle,
                self.config.touch_interval,
                used.at_ms.max(told),
            );
            self.commit(&key, Record::use_of(used), version, now);
        }
    }

    /// `node` may not have heard of what was said since `since_ms`. It is told once there is a link to it.
    pub(super) fn note_missed_uses(&mut self, node: &NodeId, since_ms: u64) {
        // A use is told at most so much later than it is made.
        let held_back = ms(self.config.swim.drop_time + self.config.touch_interval);
        let since_ms = since_ms.saturating_sub(held_back);
        let earlier = self.missed_uses.get(node);
        let since_ms = earlier.map_or(since_ms, |missed| missed.since_ms.min(since_ms));
        let cursor = Cursor::default();
        self.missed_uses.insert(node.clone(), Missed { since_ms, cursor });
    }

    /// Tells those that can be told.
    pub(super) fn progress_missed_uses(&mut self, now: Now) {
        let now_ms = self.idle.read(now);
        self.peers
            .values_mut()
            .for_each(|peer| peer.outboxes.note_time(now_ms));
        let nodes = self.missed_uses.keys();
        let linked = nodes.filter(|node| self.peers.get(*node).is_some_and(super::Peer::is_linked));
        let linked: Vec<_> = linked.cloned().collect();
        linked.iter().for_each(|node| self.tell_missed_uses(node));
    }

    /// Tells `node` of some of the uses it missed.
    pub(super) fn tell_missed_uses(&mut self, node: &NodeId) {
        let Some(mut missed) = self.missed_uses.remove(node) else {
            return;
        };
        let mut looked_at = 0;
        while looked_at < SESSIONS_PER_TICK {
            let Some(bucket) = self.table.bucket(missed.cursor.bucket) else {
                return; // that was the last
            };
            let records = bucket.ordered(missed.cursor.after.as_ref());
            looked_at += records.len();
            let uses = records.into_iter().filter_map(|(key, record)| {
                let used = record
                    .used
                    .filter(|used| used.at_ms >= missed.since_ms && record.is_alive())?;
                let is_told = self.is_shared(node, key, record);
                is_told.then(|| (key.clone(), Record::use_of(used)))
            });
            let uses: Vec<_> = uses.collect();
            for (key, used) in uses {
                let peer = self.peers.get(node);
                if !peer.is_some_and(|peer| peer.outboxes.has_room_for(&key, &used)) {
                    self.missed_uses.insert(node.clone(), missed);
                    return;
                }
                self.push(node, &key, &used);
                missed.cursor.after = Some(key);
            }
            missed.cursor = Cursor {
                bucket: missed.cursor.bucket + 1,
                after: None,
            };
        }
        self.missed_uses.insert(node.clone(), missed);
    }
}
