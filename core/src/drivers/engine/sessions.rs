//! What callers do with sessions: read, change, use, rename, end.

use std::sync::Arc;

use bytes::Bytes;
use limpet_wire::report::{ATTRIBUTES_MAX, IdleLimit, NAME_MAX, VALUE_MAX};

use super::{Engine, Output, Phase};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::base::limits::{SESSION_BYTES_MAX, WAITERS_MAX};
use crate::replication::acks::{Level, Slots, Waiter};
use crate::replication::outbox::Slot;
use crate::session::{Record, Register, Stamp};

/// A change to one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Attributes to set.
    pub set: Vec<(String, Bytes)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime.
    pub max_inactive: Option<IdleLimit>,
    /// The worker to bind to.
    pub route: Option<String>,
}

/// A change that was made here and is on its way.
#[derive(Debug)]
pub struct Written {
    /// The change's stamp.
    pub version: Stamp,
    /// What to wait for, if copies are wanted.
    pub slots: Slots,
}

/// Why a change was not made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such session.
    #[error("there is no such session")]
    NotFound,
    /// The session would be too large; keep less in it.
    #[error("{0}")]
    TooLarge(String),
    /// Nobody declares this worker.
    #[error("no node declares a worker with the route {0:?}; GET /v1/workers lists those there are")]
    NoSuchWorker(String),
    /// A name that cannot be one.
    #[error("{0}")]
    BadName(String),
    /// `session.max_active` is reached.
    #[error("this node holds session.max_active = {0} sessions and takes no new ones")]
    Full(usize),
    /// The node does not have the whole table yet, or is stopping.
    #[error("not ready: {0}")]
    NotReady(String),
}

impl Engine {
    /// The session, if there is one and its idle lifetime is not over.
    #[must_use]
    pub fn session(&self, key: &SessionKey, now: Now) -> Option<&Record> {
        self.table.get(key).filter(|record| self.is_served(record, now))
    }

    /// Whether sessions may be read and changed here: not before the table is complete, because a session that is
    /// merely missing must not look ended.
    ///
    /// # Errors
    /// [`Refused::NotReady`] with the reason.
    pub fn check_ready(&self) -> Result<(), Refused> {
        self.not_ready_reason()
            .map_or(Ok(()), |reason| Err(Refused::NotReady(reason)))
    }

    /// Changes a session; creates it where there is none.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn patch(&mut self, key: &SessionKey, patch: Patch, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        check(&patch)?;
        let stamp = self.hlc.stamp(now.wall_ms);
        let mut delta = Record::default();
        let life = self.life_for_write(key, stamp, &mut delta, now)?;
        for (name, value) in patch.set {
            delta.attributes.insert(
                name.into(),
                Register {
                    life,
                    stamp,
                    value: Some(value),
                },
            );
        }
        for name in patch.remove {
            delta.attributes.insert(
                name.into(),
                Register {
                    life,
                    stamp,
                    value: None,
                },
            );
        }
        if let Some(value) = patch.max_inactive {
            delta.max_inactive = Some(Register { life, stamp, value });
        }
        if let Some(route) = patch.route {
            delta.route = Some(Register {
                life,
                stamp,
                value: Arc::from(route),
            });
        }
        let value = self.use_ms(key, now);
        delta.touched = Some(Register { life, stamp, value });
        let mut result = self.table.get(key).cloned().unwrap_or_default();
        result.join(&delta);
        // Removed names are remembered until the session ends; there is a bound for them as well.
        if result.values().count() > ATTRIBUTES_MAX
            || result.attributes.len() > 4 * ATTRIBUTES_MAX
            || result.size() > SESSION_BYTES_MAX
        {
            return Err(Refused::TooLarge(format!(
                "a session holds at most {ATTRIBUTES_MAX} attributes and {SESSION_BYTES_MAX} bytes"
            )));
        }
        Ok(self.commit(key, delta, stamp, now))
    }

    /// The life a write at `stamp` belongs to: the current one, or a new one that begins with it.
    fn life_for_write(
        &self,
        key: &SessionKey,
        stamp: Stamp,
        delta: &mut Record,
        now: Now,
    ) -> Result<Stamp, Refused> {
        let known = self.table.get(key);
        if let Some(life) = known
            .filter(|record| self.is_served(record, now))
            .and_then(Record::life)
        {
            return Ok(life);
        }
        if let Some(most) = self.config.max_active
            && self.sessions() >= most
            && !key.is_reserved()
        {
            return Err(Refused::Full(most));
        }
        if let Some(over) = known.and_then(Record::life) {
            delta.deleted = over; // its time is up and nobody has said so yet
        }
        let idle = if key.is_reserved() {
            IdleLimit::Forever
        } else {
            self.config.max_inactive
        };
        delta.max_inactive = Some(Register {
            life: stamp,
            stamp,
            value: idle,
        });
        Ok(stamp)
    }

    /// Uses a session: its idle time starts over. Told to other nodes at most once per `touch_interval`.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn touch(&mut self, key: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        let life = self
            .session(key, now)
            .and_then(Record::life)
            .ok_or(Refused::NotFound)?;
        let stamp = self.hlc.stamp(now.wall_ms);
        let value = self.use_ms(key, now);
        let touched = Some(Register { life, stamp, value });
        let delta = Record {
            touched,
            ..Record::default()
        };
        if self.touches.is_told_later(key) {
            self.join(key, &delta, now);
            return Ok(Written {
                version: stamp,
                slots: Slots::new(),
            });
        }
        let idle = self
            .table
            .get(key)
            .and_then(|record| record.max_inactive.as_ref())
            .map(|r| r.value);
        self.touches
            .told(key.clone(), idle, self.config.touch_interval, now.wall_ms);
        Ok(self.commit(key, delta, stamp, now))
    }

    /// Binds an existing session to the worker `route`. Says nothing if it is bound to it already.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::BadName`], [`Refused::NotReady`].
    pub fn bind(&mut self, key: &SessionKey, route: &str, now: Now) -> Result<Option<Written>, Refused> {
        let record = self.session(key, now).ok_or(Refused::NotFound)?;
        if record.route.as_ref().is_some_and(|bound| &*bound.value == route) {
            return Ok(None);
        }
        let patch = Patch {
            route: Some(route.to_owned()),
            ..Patch::default()
        };
        self.counters.rebound += 1;
        self.patch(key, patch, now).map(Some)
    }

    /// The time of a use now: never before the last one, should the clock have been set back.
    fn use_ms(&self, key: &SessionKey, now: Now) -> u64 {
        let last = self
            .table
            .get(key)
            .and_then(|record| record.touched.as_ref())
            .map_or(0, |r| r.value);
        now.wall_ms.max(last)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn delete(&mut self, key: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        if self.session(key, now).is_none() {
            return Err(Refused::NotFound);
        }
        let stamp = self.hlc.stamp(now.wall_ms);
        Ok(self.commit(key, Record::tombstone(stamp), stamp, now))
    }

    /// Gives a session another id; attributes and lifetimes stay. A session that has the new id already is ended.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn rename(&mut self, from: &SessionKey, to: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        let old = self.session(from, now).ok_or(Refused::NotFound)?.clone();
        if !old.has_beginning() {
            // The old id ends everywhere, so what is not here would be lost.
            return Err(Refused::NotReady(
                "a part of this session is still on its way here".into(),
            ));
        }
        let over = self.hlc.stamp(now.wall_ms);
        let stamp = self.hlc.stamp(now.wall_ms);
        let renewed = |value| Register {
            life: stamp,
            stamp,
            value,
        };
        let moved = Record {
            deleted: over,
            touched: Some(Register {
                life: stamp,
                stamp,
                value: now.wall_ms,
            }),
            max_inactive: old.max_inactive.map(|r| Register {
                life: stamp,
                stamp,
                value: r.value,
            }),
            route: old.route.map(|r| Register {
                life: stamp,
                stamp,
                value: r.value,
            }),
            attributes: old
                .attributes
                .into_iter()
                .filter(|(_, r)| r.value.is_some())
                .map(|(name, r)| (name, renewed(r.value)))
                .collect(),
        };
        let mut slots = self.commit(to, moved, stamp, now).slots;
        let ended = self.commit(from, Record::tombstone(over), over, now);
        // Slots rise, so the later of the two stands for both.
        for (node, slot) in &mut slots {
            let other = ended
                .slots
                .iter()
                .find(|(peer, _)| peer == node)
                .and_then(|(_, slot)| *slot);
            *slot = slot.zip(other).map(|(a, b)| a.max(b));
        }
        Ok(Written {
            version: stamp,
            slots,
        })
    }

    /// Waits for copies of a change. `Err` holds the count when there is nothing to wait for.
    ///
    /// # Errors
    /// The number of copies.
    pub fn wait_for(
        &mut self,
        level: Level,
        timeout: std::time::Duration,
        slots: Slots,
        now: Now,
    ) -> Result<Waiter, usize> {
        if self.acks.len() >= WAITERS_MAX {
            return Err(1);
        }
        // Between the change and this call some of it may have been settled already.
        let (mut copies, mut missing) = (1, Slots::new());
        for (node, slot) in slots {
            let Some(peer) = self.peers.get(&node) else {
                continue; // gone
            };
            match slot.filter(|slot| *slot >= peer.outbox.floor()) {
                Some(slot) if peer.has_applied(slot) => copies += 1,
                slot => missing.push((node, slot.filter(|slot| *slot > peer.outbox.acked()))),
            }
        }
        self.acks.wait(level, now.mono + timeout, copies, missing)
    }

    /// Joins a change of this node and puts it into every peer's outbox.
    pub(super) fn commit(&mut self, key: &SessionKey, delta: Record, stamp: Stamp, now: Now) -> Written {
        self.join(key, &delta, now);
        let mut slots = Slots::new();
        for (node, peer) in &mut self.peers {
            let member = self
                .roster
                .get(node)
                .filter(|member| member.active && !member.leaving);
            if member.is_none() && !peer.is_linked() {
                continue; // what it misses it will ask for
            }
            let slot = peer.outbox.push(key, &delta);
            if slot.is_none() {
                self.acks.dropped(node, Slot::MAX);
            }
            if peer.is_linked() {
                self.outputs.push(Output::Wake(node.clone()));
            }
            // Only members are copies; a peer that is merely linked may not be one yet.
            if member.is_some() {
                slots.push((node.clone(), slot));
            }
        }
        Written {
            version: stamp,
            slots,
        }
    }

    /// Joins a record, whoever it comes from.
    pub(super) fn join(&mut self, key: &SessionKey, delta: &Record, now: Now) {
        let before = self.table.get(key).and_then(|record| self.expires_ms(record));
        let change = self.table.join(key, delta);
        if !change.changed {
            if change.new {
                self.table.forget(key); // it said nothing
            }
            return;
        }
        self.counters.created += u64::from(!change.was_alive && change.is_alive && !key.is_reserved());
        self.counters.ended += u64::from(change.was_alive && !change.is_alive);
        self.watch_end(key, change, before, now);
        if key.is_reserved() {
            self.refresh_table();
        }
    }

    /// Whether a record is a session whose idle lifetime is not over.
    fn is_served(&self, record: &Record, now: Now) -> bool {
        record.is_alive() && self.expires_ms(record).is_none_or(|end| end > now.wall_ms)
    }

    /// When a session ends if nobody uses it, in milliseconds since 1970; `None` when it does not.
    pub(super) fn expires_ms(&self, record: &Record) -> Option<u64> {
        record.expires_ms(self.config.max_inactive)
    }

    /// Whether the node is stopping.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.phase == Phase::Leaving
    }
}

fn check(patch: &Patch) -> Result<(), Refused> {
    let names = patch
        .set
        .iter()
        .map(|(name, _)| name)
        .chain(&patch.remove)
        .chain(&patch.route);
    for name in names {
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(Refused::BadName(format!("a name has 1 to {NAME_MAX} bytes")));
        }
    }
    match patch.set.iter().find(|(_, value)| value.len() > VALUE_MAX) {
        Some((name, value)) => Err(Refused::TooLarge(format!(
            "attribute {name} has {} bytes where {VALUE_MAX} are allowed",
            value.len()
        ))),
        None => Ok(()),
    }
}
