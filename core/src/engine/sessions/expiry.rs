//! Expiry: the end of sessions that were not touched for their idle lifetime, and of tombstones that every replica has.
//!
//! A session past its idle lifetime is not served from that moment on. A moment later, so that a touch under way
//! still counts, one node sends the expiry to all: the one whose worker it is bound to, or else the best placed one.
//! Should that node be gone, every other one does it itself a little later. How touches reach other nodes is in
//! [`super::touches`]; an expiry that a later touch contradicts is refuted in [`super::refute`].

use std::time::Duration;

use limpet_wire::placement;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::EXPIRY_GRACE;
use crate::engine::{Engine, Phase};
use crate::replication::transfer::Cursor;
use crate::session::{Record, Stamp};
use crate::store::{Change, Deadlines};

/// How often to look at a session that has no end, in case it got one.
const LOOK_AGAIN_MS: u64 = 3_600_000;
/// How long what a session held stays after it was found idle.
const LINGER: Duration = Duration::from_secs(60);
/// The least time before a session that has just ended is looked at again.
const LOOK_LATER_MS: u64 = 1000;
/// How many deadlines one tick handles; the rest waits for the next.
const EXPIRIES_PER_TICK: usize = 64;
/// How many sessions one call of [`Engine::delete_some`] deletes.
const DELETED_PER_CALL: usize = 100;

/// When sessions and tombstones are looked at.
#[derive(Debug)]
pub(in crate::engine) struct Expiry {
    deadlines: Deadlines,
    /// From when on tombstones may be forgotten: a while after the node became ready.
    pub(in crate::engine) forgets_from: Duration,
}

impl Default for Expiry {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            forgets_from: Duration::MAX,
        }
    }
}

pub(in crate::engine) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    /// Makes sure the end of a record that changed is looked at in time.
    pub(in crate::engine) fn schedule_expiry(&mut self, key: &SessionKey, change: Change, now: Now) {
        let ended = change.was_alive && !change.is_alive;
        let began = !change.was_alive && change.is_alive;
        let moved_forward = match change.expiry {
            (Some(before), Some(after)) => after < before,
            (None, Some(_)) => true,
            _ => false,
        };
        if !(change.new || moved_forward || ended || began) {
            return;
        }
        let Some(record) = self.table.get(key) else { return };
        if change.new {
            self.expiry.deadlines.add(self.look_at(record, now), key.clone());
        } else {
            self.expiry
                .deadlines
                .add_once(self.look_at(record, now), key.clone());
        }
    }

    /// When to look at a record next, in milliseconds since 1970.
    fn look_at(&self, record: &Record, now: Now) -> u64 {
        if !record.is_alive() {
            if let Some(last_touch) = record.last_touch {
                // Found idle: what it holds stays for a while, for a touch that arrives late.
                let idle_ms = self.expires_ms(record).unwrap_or(last_touch.at_ms);
                return idle_ms.saturating_add(ms(LINGER));
            }
            let over_ms = record
                .lifecycle
                .last_end()
                .wall_ms()
                .max(record.lifecycle.expired.map_or(0, |last| last.at_ms));
            return over_ms.saturating_add(ms(self.config.tombstone_life));
        }
        match self.expires_ms(record) {
            None => self.members.time_ms(now) + LOOK_AGAIN_MS,
            Some(end) => end.saturating_add(ms(EXPIRY_GRACE)),
        }
    }

    /// When this node gives up waiting for another one to send the expiry of a session that is due. `None` where nobody
    /// is waited for. Who that is costs a look at every member, so it is asked for sessions that are due, not for every
    /// record that is written.
    fn waits_for_owner(&self, key: &SessionKey, record: &Record) -> Option<u64> {
        if !record.is_alive() || self.is_expiry_owner(key, record) {
            return None;
        }
        let end = self.expires_ms(record)?;
        Some(end.saturating_add(ms(EXPIRY_GRACE + self.config.swim.drop_time)))
    }

    /// Whether this node is the one to send the expiry of the session.
    fn is_expiry_owner(&self, key: &SessionKey, record: &Record) -> bool {
        let this_node = self.config.node.as_str();
        let ready = self.members.roster().active().filter(|(_, member)| member.ready);
        let mut nodes: Vec<&str> = ready.map(|(node, _)| node.as_str()).collect();
        nodes.push(this_node);
        let owner = record
            .route
            .as_ref()
            .and_then(|route| self.workers.owner_of(&route.value));
        if let Some(owner) = owner.filter(|owner| nodes.contains(owner)) {
            return owner == this_node;
        }
        placement::rank(&mut nodes, key.app(), key.id());
        nodes.first() == Some(&this_node)
    }

    /// Ends what is over and forgets tombstones that have outlived every copy.
    pub(in crate::engine) fn expire_due(&mut self, now: Now) {
        let idle_ms = self.members.time_ms(now);
        for looked_at in 0.. {
            if looked_at == EXPIRIES_PER_TICK {
                self.more_work = true;
                return;
            }
            let Some((key, lasting)) = self.expiry.deadlines.pop_due(idle_ms) else {
                return;
            };
            let Some(record) = self.table.get(&key) else {
                continue;
            };
            let look = self.look_at(record, now);
            if look > idle_ms {
                if lasting {
                    self.expiry.deadlines.add(look, key);
                }
                continue;
            }
            if let Some(until) = self
                .waits_for_owner(&key, record)
                .filter(|until| *until > idle_ms)
            {
                if lasting {
                    self.expiry.deadlines.add(until, key);
                } else {
                    self.expiry.deadlines.add_once(until, key);
                }
                continue;
            }
            if record.last_touch.is_some() && !record.is_alive() {
                self.table.drop_expired_contents(&key);
                if lasting {
                    let known = self.table.get(&key);
                    let at = known.map_or(idle_ms, |record| self.look_at(record, now));
                    self.expiry.deadlines.add(at, key);
                }
                continue;
            }
            let Some(last) = record.last_touch else {
                if let Some(at) = self.keeps_tombstone_until(record, look, now) {
                    if lasting {
                        self.expiry.deadlines.add(at, key);
                    } else {
                        self.expiry.deadlines.add_once(at, key);
                    }
                    continue;
                }
                if record.lifecycle.last_end() != Stamp::ZERO {
                    self.members
                        .note_forgotten_tombstone(record.lifecycle.last_end().wall_ms());
                }
                self.table.forget(&key);
                continue;
            };
            let version = record.version();
            if self.phase == Phase::Ready {
                self.counters.expired += 1;
                self.commit(&key, Record::expiry(last), version, now);
            }
            if lasting {
                let known = self.table.get(&key);
                let at = known.map_or(idle_ms, |record| self.look_at(record, now));
                self.expiry.deadlines.add(at.max(idle_ms + LOOK_LATER_MS), key);
            }
        }
    }

    /// Until when a tombstone that was due to be forgotten at `due_ms` is kept all the same, in milliseconds since 1970:
    /// a node that lacks it gets it by repair, which needs a ready node. Nodes that come and go do not prolong its life by
    /// more than that life.
    fn keeps_tombstone_until(&self, record: &Record, due_ms: u64, now: Now) -> Option<u64> {
        let time_ms = self.members.time_ms(now);
        if now.mono < self.expiry.forgets_from {
            return Some(time_ms + LOOK_LATER_MS);
        }
        if record.lifecycle.last_end() == Stamp::ZERO {
            return None; // an idle session that comes back is found idle again
        }
        let deleted_ms = record.lifecycle.last_end().wall_ms();
        let lacked = self.members.tombstone_lacked_for(deleted_ms, now)?;
        let last_ms = due_ms.saturating_add(ms(self.config.tombstone_life));
        Some(last_ms.min(time_ms + ms(lacked))).filter(|until| *until > time_ms)
    }

    /// `node` found a session idle since a touch that was not the last: it is told the whole session again.
    pub(in crate::engine) fn resend_refuted(&mut self, node: &NodeId, key: &SessionKey, inbound: &Record) {
        let Some(record) = self.table.get(key) else { return };
        let of_this_life = inbound
            .lifecycle
            .expired
            .is_some_and(|last| Some(last.life) == record.life());
        if of_this_life && !inbound.is_alive() && record.is_alive() && record.is_complete() {
            let record = record.clone();
            self.push(node, key, &record);
            self.counters.revived += 1;
        }
    }

    /// Deletes some of the sessions after `from`, in the order of buckets and keys, because the configuration asks for
    /// it when the node stops: [`DELETED_PER_CALL`] at most. Returns where to go on; `None` when that was the last.
    ///
    /// The node counts as leaving from the first call on, so no caller begins a session behind the cursor.
    pub fn delete_some(&mut self, from: &Cursor, now: Now) -> Option<Cursor> {
        if self.phase != Phase::Leaving {
            self.enter(Phase::Leaving);
            self.settle(now);
        }
        let mut keys = Vec::new();
        let mut next = None;
        let mut after = from.after.as_ref();
        let mut index = from.bucket;
        while let Some(bucket) = self.table.bucket(index) {
            let records = bucket.ordered(after.take()).into_iter();
            keys.extend(
                records
                    .filter(|(key, record)| record.is_alive() && !key.is_reserved())
                    .map(|(key, _)| key.clone()),
            );
            index += 1;
            if keys.len() >= DELETED_PER_CALL {
                let more = keys.len() > DELETED_PER_CALL;
                keys.truncate(DELETED_PER_CALL);
                next = Some(Cursor {
                    bucket: if more { index - 1 } else { index },
                    after: keys.last().filter(|_| more).cloned(),
                });
                break;
            }
        }
        for key in keys {
            let stamp = self.stamp(now);
            if let Some(deletion) = self.table.get(&key).map(|record| record.deletion(stamp)) {
                self.commit(&key, deletion, stamp, now);
            }
        }
        next
    }
}
