//! Replication of touches: at most one per interval and session, and again to nodes that may have missed some.
//!
//! Digests leave touches out, because otherwise every request would make two tables differ. So repair does not bring them.
//! A node that was lost, or whose outbox overflowed, is sent every touch since the last that it is known to have, bucket
//! after bucket, as its outbox has room. What a touch means for the end of a session is in [`super::expiry`].

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_wire::report::IdleLimit;

use crate::base::by_session::BySession;
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::MEMBERS_MAX;
use crate::engine::Engine;
use crate::engine::sessions::expiry::ms;
use crate::replication::transfer::Cursor;
use crate::session::Record;
use crate::store::Deadlines;

/// How many sessions one tick looks at, about, for all nodes together; the next goes on with them in turn.
pub(in crate::engine) const SESSIONS_PER_TICK: usize = 500;
/// How many touches one tick flushes; the next goes on with the rest.
const FLUSHED_PER_TICK: usize = 64;

/// Which sessions' touch was sent to other nodes lately, so that the next is sent later, and who missed some.
#[derive(Debug, Default)]
pub(in crate::engine) struct Touches {
    sent: BySession<SentTouch>,
    again: Deadlines,
    missed: MissedTouches,
}

/// A touch that was sent. Moments are in milliseconds since 1970.
#[derive(Debug)]
struct SentTouch {
    at_ms: u64,
    /// When the next is sent. Any other deadline of the session is out of date.
    next_ms: u64,
}

/// How long after a touch the next is sent: `interval`, or a third of the session's idle lifetime if that is less, so that
/// every node has it in time.
fn wait_ms(idle: Option<IdleLimit>, interval: Duration) -> u64 {
    let interval = ms(interval);
    match idle {
        Some(IdleLimit::Millis(idle)) => interval.min(idle / 3),
        _ => interval,
    }
}

impl Touches {
    /// Whether a touch of `key` can be sent later.
    pub(in crate::engine) fn is_deferred(&self, key: &SessionKey) -> bool {
        self.sent.contains_key(key)
    }

    /// The idle lifetime of `key` may have changed: if the wait before its next touch is sent is too long now, it becomes shorter.
    pub(in crate::engine) fn hurry(&mut self, key: &SessionKey, idle: Option<IdleLimit>, interval: Duration) {
        if let Some(told) = self.sent.get_mut(key) {
            let next_ms = told.at_ms.saturating_add(wait_ms(idle, interval));
            if next_ms < told.next_ms {
                told.next_ms = next_ms;
                self.again.add(next_ms, key.clone());
            }
        }
    }

    /// The touch of `key` at `at_ms` is being sent. The next is sent a while later.
    pub(in crate::engine) fn note_sent(
        &mut self,
        key: SessionKey,
        idle: Option<IdleLimit>,
        interval: Duration,
        at_ms: u64,
    ) {
        let next_ms = at_ms.saturating_add(wait_ms(idle, interval));
        self.again.add(next_ms, key.clone());
        self.sent.insert(key, SentTouch { at_ms, next_ms });
    }

    /// The next session whose touch is due, and the time of the touch that was sent last.
    fn pop_due(&mut self, now_ms: u64) -> Option<(SessionKey, u64)> {
        loop {
            let (key, _) = self.again.pop_due(now_ms)?;
            if self.sent.get(&key).is_some_and(|told| told.next_ms <= now_ms)
                && let Some(told) = self.sent.remove(&key)
            {
                return Some((key, told.at_ms));
            }
        }
    }
}

/// Touches a node may have missed.
#[derive(Debug)]
struct Missed {
    since_ms: u64,
    /// Where sending them goes on.
    cursor: Cursor,
}

/// The nodes that may have missed touches. One entry for each that was ever lost and was not sent them yet; of more than
/// [`MEMBERS_MAX`] only members.
#[derive(Debug, Default)]
struct MissedTouches {
    by: BTreeMap<NodeId, Missed>,
    /// The node that was sent some last.
    last: Option<NodeId>,
}

impl Engine {
    /// Sends the touches that were held back long enough.
    pub(in crate::engine) fn flush_touches(&mut self, now: Now) {
        for flushed in 0.. {
            if flushed == FLUSHED_PER_TICK {
                self.more_work = true;
                return;
            }
            let Some((key, told)) = self.touches.pop_due(self.members.time_ms(now)) else {
                return;
            };
            let Some(record) = self.table.get(&key) else {
                continue;
            };
            let Some(last_touch) = record
                .last_touch
                .filter(|last_touch| last_touch.at_ms > told && record.is_alive())
            else {
                continue;
            };
            let (idle, version) = (record.max_inactive.as_ref().map(|r| r.value), record.version());
            self.touches.note_sent(
                key.clone(),
                idle,
                self.config.touch_interval,
                last_touch.at_ms.max(told),
            );
            self.commit(&key, Record::touch_only(last_touch), version, now);
        }
    }

    /// `node` may not have heard of what was said since `since_ms`. It is told once there is a link to it.
    pub(in crate::engine) fn note_missed_touches(&mut self, node: &NodeId, since_ms: u64) {
        // A use is told at most so much later than it is made.
        let held_back = ms(self.config.swim.drop_time + self.config.touch_interval);
        let since_ms = since_ms.saturating_sub(held_back);
        if self.touches.missed.by.len() >= MEMBERS_MAX {
            let roster = self.members.roster();
            self.touches
                .missed
                .by
                .retain(|node, _| roster.get(node).is_some());
        }
        let earlier = self.touches.missed.by.get(node);
        let since_ms = earlier.map_or(since_ms, |missed| missed.since_ms.min(since_ms));
        let cursor = Cursor::default();
        self.touches
            .missed
            .by
            .insert(node.clone(), Missed { since_ms, cursor });
    }

    /// Tells those that can be told.
    pub(in crate::engine) fn progress_missed_touches(&mut self, now: Now) {
        let now_ms = self.members.time_ms(now);
        self.peers
            .values_mut()
            .for_each(|peer| peer.outboxes.advance_time(now_ms));
        let nodes = self.touches.missed.by.keys();
        let linked = nodes.filter(|node| self.peers.get(*node).is_some_and(crate::engine::Peer::is_linked));
        let linked: Vec<_> = linked.cloned().collect();
        let last = self.touches.missed.last.take();
        let begin = linked.partition_point(|node| last.as_ref().is_some_and(|last| node <= last));
        let mut most = SESSIONS_PER_TICK;
        for node in linked.iter().cycle().skip(begin).take(linked.len()) {
            most = most.saturating_sub(self.send_missed_touches(node, most));
            self.touches.missed.last = Some(node.clone());
            if most == 0 {
                break;
            }
        }
    }

    /// Tells `node` of some of the uses it missed, looking at `most` sessions and the rest of a bucket; says at how many
    /// it looked.
    pub(in crate::engine) fn send_missed_touches(&mut self, node: &NodeId, most: usize) -> usize {
        let Some(mut missed) = self.touches.missed.by.remove(node) else {
            return 0;
        };
        let mut looked_at = 0;
        while looked_at < most {
            let Some(bucket) = self.table.bucket(missed.cursor.bucket) else {
                return looked_at; // that was the last
            };
            let records = bucket.ordered(missed.cursor.after.as_ref());
            looked_at += records.len();
            let uses = records.into_iter().filter_map(|(key, record)| {
                let last_touch = record
                    .last_touch
                    .filter(|last_touch| last_touch.at_ms >= missed.since_ms && record.is_alive())?;
                let is_told = self.is_shared(node, key, record);
                is_told.then(|| (key.clone(), Record::touch_only(last_touch)))
            });
            let uses: Vec<_> = uses.collect();
            for (key, last_touch) in uses {
                let peer = self.peers.get(node);
                if !peer.is_some_and(|peer| peer.outboxes.has_room_for(&key, &last_touch)) {
                    self.touches.missed.by.insert(node.clone(), missed);
                    return looked_at;
                }
                self.push(node, &key, &last_touch);
                missed.cursor.after = Some(key);
            }
            missed.cursor = Cursor {
                bucket: missed.cursor.bucket + 1,
                after: None,
            };
        }
        self.touches.missed.by.insert(node.clone(), missed);
        looked_at
    }
}
