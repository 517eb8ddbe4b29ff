//! What callers do with sessions: read, change, use, rename, end.

pub(in crate::engine) mod expiry;
mod rename;
pub(in crate::engine) mod touches;

use std::sync::Arc;

use limpet_wire::report::{ATTRIBUTES_MAX, IdleLimit, NAME_MAX, VALUE_MAX};
use smallvec::SmallVec;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{SESSION_BYTES_MAX, WAITERS_MAX};
use crate::engine::backup::placement::Location;
use crate::engine::changed::Changed;
use crate::engine::{Engine, Output, Phase};
use crate::replication::acks::{DeliveryStatus, Level, Waiter};
use crate::replication::position::{StreamId, StreamPosition};
use crate::replication::write_set::WriteSet;
use crate::session::{AttributeFilter, Record, Register, Stamp, Touch, Value};

/// How many outputs are looked through for one that says the same.
const OUTPUTS_SEEN: usize = 8;

/// A change to one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Attributes to set.
    pub set: Vec<(String, Value)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime.
    pub max_inactive: Option<IdleLimit>,
    /// The worker to bind to.
    pub route: Option<String>,
    /// Whether every attribute that is not set is removed.
    pub replace: bool,
}

impl Patch {
    /// Leaves out the attributes to set that are not to be kept; says which.
    #[must_use]
    pub fn keep(&mut self, filter: &AttributeFilter) -> Vec<String> {
        let ignored = self.set.extract_if(.., |(name, _)| !filter.keeps(name));
        ignored.map(|(name, _)| name).collect()
    }
}

/// A change that was made here and is on its way.
#[derive(Debug)]
pub struct Written {
    /// The session, under the id it has now.
    pub key: SessionKey,
    /// The change's stamp.
    pub version: Stamp,
    /// What to wait for, if copies are wanted.
    pub write_set: WriteSet,
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
    /// A part of the session is here and the rest is not: it must be neither shown nor written over.
    #[error("a part of this session is still on its way to this node")]
    Incomplete,
    /// The session is not here, and who may have it does not answer.
    #[error("the nodes that hold this session cannot be reached now")]
    Unreachable,
    /// The node does not have the whole table yet, or is stopping.
    #[error("not ready: {0}")]
    NotReady(String),
}

impl Engine {
    /// The session, if there is one, its idle lifetime is not over, and all of it is here. The id it had until
    /// lately finds it as well.
    #[must_use]
    pub fn session(&self, key: &SessionKey, now: Now) -> Option<&Record> {
        self.find(key, now).ok()
    }

    /// See [`Self::session`].
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Incomplete`].
    pub fn find(&self, key: &SessionKey, now: Now) -> Result<&Record, Refused> {
        self.find_exactly(&self.current_key(key, now), now)
    }

    /// The session under this id, whatever became of others that had it.
    pub(in crate::engine) fn find_exactly(&self, key: &SessionKey, now: Now) -> Result<&Record, Refused> {
        let record = self
            .table
            .get(key)
            .filter(|record| self.is_served(record, now))
            .ok_or(Refused::NotFound)?;
        if record.is_complete() {
            Ok(record)
        } else {
            Err(Refused::Incomplete)
        }
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
        let key = &*self.current_key(key, now);
        let stamp = self.hlc.stamp(now.wall_ms);
        let mut delta = Record::default();
        let life = self.life_for_write(key, stamp, &mut delta, now)?;
        let register = |value| Register { life, stamp, value };
        if patch.replace
            && let Some(known) = self.table.get(key)
        {
            let duplicates = known.values().map(|(name, _)| name.clone());
            delta.attributes = duplicates.map(|name| (name, register(None))).collect();
        }
        for name in patch.remove {
            delta.attributes.insert(name.into(), register(None));
        }
        for (name, value) in patch.set {
            delta.attributes.insert(name.into(), register(Some(value)));
        }
        if let Some(value) = patch.max_inactive {
            delta.max_inactive = Some(Register { life, stamp, value });
        }
        if let Some(route) = patch.route {
            let value = Arc::from(route);
            delta.route = Some(Register { life, stamp, value });
        }
        let at_ms = self.touch_ms(key, now);
        delta.last_touch = Some(Touch { life, at_ms });
        let known = self.table.get(key).filter(|record| record.life() == Some(life));
        let (values, duplicates, bytes) = known.map_or_else(
            || Record::default().measure_with(&delta),
            |known| known.measure_with(&delta),
        );
        // Removed names are remembered until the session ends; there is a bound for them as well.
        if values > ATTRIBUTES_MAX || duplicates > 4 * ATTRIBUTES_MAX || bytes > SESSION_BYTES_MAX {
            return Err(Refused::TooLarge(format!(
                "a session holds at most {ATTRIBUTES_MAX} attributes and {SESSION_BYTES_MAX} bytes"
            )));
        }
        Ok(self.commit(key, delta, stamp, now))
    }

    /// The life a write at `stamp` belongs to: the current one, or a new one that begins with it.
    fn life_for_write(
        &mut self,
        key: &SessionKey,
        stamp: Stamp,
        delta: &mut Record,
        now: Now,
    ) -> Result<Stamp, Refused> {
        match self.find_exactly(key, now) {
            Ok(record) => {
                if let Some(life) = record.life() {
                    return Ok(life);
                }
            }
            Err(Refused::Incomplete) => return Err(Refused::Incomplete),
            Err(_) => {}
        }
        if let Some(most) = self.config.max_active
            && self.sessions() >= most
            && !key.is_reserved()
        {
            self.counters.refused_full += 1;
            return Err(Refused::Full(most));
        }
        if let Some(known) = self.table.get(key) {
            // Its time is up, whether somebody has said so yet or not: this begins another life.
            let over = known.life().max(known.lifecycle.expired.map(|ended| ended.life));
            delta
                .lifecycle
                .change(|lifecycle| lifecycle.deleted = over.unwrap_or_default());
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
        let key = &*self.current_key(key, now);
        let record = self.find_exactly(key, now)?;
        let version = record.version();
        let idle = record.max_inactive.as_ref().map(|r| r.value);
        let life = record.life().ok_or(Refused::NotFound)?;
        let at_ms = self.touch_ms(key, now);
        let delta = Record::touch_only(Touch { life, at_ms });
        if self.touches.is_told_later(key) {
            self.join(key, &delta, now);
            let write_set = WriteSet::default();
            let key = key.clone();
            return Ok(Written {
                key,
                version,
                write_set,
            });
        }
        self.touches
            .told(key.clone(), idle, self.config.touch_interval, self.idle.read(now));
        Ok(self.commit(key, delta, version, now))
    }

    /// Binds an existing session to the worker `route`. Says nothing if it is bound to it already.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::BadName`], [`Refused::NotReady`].
    pub fn bind(&mut self, key: &SessionKey, route: &str, now: Now) -> Result<Option<Written>, Refused> {
        let record = self.find(key, now)?;
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

    /// Attributes were left out of a change. See [`Patch::keep`].
    pub const fn note_ignored(&mut self, attributes: usize) {
        self.counters.attributes_ignored += attributes as u64;
    }

    /// The time of a use now: never before the last one, should the clock have been set back.
    pub(in crate::engine) fn touch_ms(&self, key: &SessionKey, now: Now) -> u64 {
        let last = self.table.get(key).and_then(|record| record.last_touch);
        self.idle
            .read(now)
            .max(last.map_or(0, |last_touch| last_touch.at_ms))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn delete(&mut self, key: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        let key = &*self.current_key(key, now);
        if self.find_exactly(key, now) == Err(Refused::NotFound) {
            return Err(Refused::NotFound);
        }
        let stamp = self.hlc.stamp(now.wall_ms);
        Ok(self.commit(key, Record::tombstone(stamp), stamp, now))
    }

    /// Waits for copies of a change. `Err` holds the count when there is nothing to wait for.
    ///
    /// # Errors
    /// The number of copies.
    pub fn wait_for(
        &mut self,
        level: Level,
        timeout: std::time::Duration,
        write_set: WriteSet,
        now: Now,
    ) -> Result<Waiter, usize> {
        if self.acks.len() >= WAITERS_MAX {
            return Err(1);
        }
        // Between the change and this call some of it may have been settled already.
        let peers = &self.peers;
        let delivery_status =
            |node: &NodeId, position: Option<StreamPosition>| match (peers.get(node), position) {
                (None, _) => DeliveryStatus::Gone,
                (Some(peer), Some(position)) => peer.delivery_status(position),
                (Some(_), None) => DeliveryStatus::Pending,
            };
        let holders = write_set.groups().iter().flatten();
        let positions = holders.flat_map(|holder| {
            holder
                .positions
                .iter()
                .map(|position| (&holder.node, position.stream))
        });
        let awaited: SmallVec<[_; 2]> = positions.map(|(node, stream)| (node.clone(), stream)).collect();
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

    /// The same for a session that was at `before`.
    pub(in crate::engine) fn commit_from(
        &mut self,
        key: &SessionKey,
        before: &Location,
        delta: Record,
        stamp: Stamp,
        now: Now,
    ) -> Written {
        self.join(key, &delta, now);
        let targets = self.targets(key, before);
        let passing = targets.as_ref().is_some_and(|targets| !targets.stays_here);
        let roster = &self.roster;
        let told = self.peers.iter_mut().filter_map(|(node, peer)| {
            let stays = match &targets {
                None => true,
                Some(targets) => targets.stays_at(node)?, // or else it holds no copy
            };
            let member = roster
                .get(node)
                .is_some_and(|member| member.active && !member.leaving);
            // What a peer misses that is neither, it will ask for. Only members are copies; a peer that is merely
            // linked may not be one yet, and one that holds the session only until a better placed one does will not
            // be one any more.
            (member || peer.is_linked()).then_some((node, peer, member && stays))
        });
        let (mut told, mut delta) = (told.peekable(), delta);
        let mut positions = SmallVec::<[_; 2]>::new();
        while let Some((node, peer, is_copy)) = told.next() {
            let own = if told.peek().is_some() {
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
                None => self.acks.dropped_all(node),
            }
            if is_copy {
                positions.push((node, position));
            }
        }
        let mut write_set = WriteSet::default();
        self.gathered
            .as_mut()
            .unwrap_or(&mut write_set)
            .add(&positions, passing);
        Written {
            key: key.clone(),
            version: stamp,
            write_set,
        }
    }

    /// Makes several changes and says where all of them lie; what each of them says of that by itself is nothing.
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
            None => self.acks.dropped_all(node),
        }
        position
    }

    /// The same for what can as well be told later: only where there is room for it.
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

    /// Joins a record, whoever it comes from.
    pub(in crate::engine) fn join(&mut self, key: &SessionKey, delta: &Record, now: Now) {
        let before = self.table.get(key).and_then(|record| self.expires_ms(record));
        let location = self.location(key);
        let known = self.before_change(key);
        let change = self.table.join(key, delta);
        if let Some(origin) = &delta.lifecycle.renamed_from {
            // Even if the new id is over by now, and this says nothing of it any more.
            self.end_old_id(key, origin, now);
        }
        if !change.changed {
            if change.new {
                self.table.forget(key); // it said nothing
            }
            return;
        }
        self.counters.created += u64::from(!change.was_alive && change.is_alive && !key.is_reserved());
        self.counters.ended += u64::from(change.was_alive && !change.is_alive);
        if delta.max_inactive.is_some() {
            let idle = self.table.get(key).and_then(|known| known.max_inactive.as_ref());
            let idle = idle.map(|r| r.value);
            self.touches.hurry(key, idle, self.config.touch_interval);
        }
        self.moved_from(key, &location);
        self.schedule_expiry(key, change, before, now);
        if let Some(known) = known {
            self.tell_change(key, &known, now);
        }
        if key.is_reserved() {
            self.changed.note(Changed::RESERVED);
        }
    }

    /// Whether a record is a session whose idle lifetime is not over.
    fn is_served(&self, record: &Record, now: Now) -> bool {
        record.is_alive()
            && self
                .expires_ms(record)
                .is_none_or(|end| end > self.idle.read(now))
    }

    /// When a session ends if nobody uses it, in milliseconds since 1970; `None` when it does not.
    pub(in crate::engine) fn expires_ms(&self, record: &Record) -> Option<u64> {
        record.expires_ms(self.config.max_inactive)
    }

    /// Whether the node is stopping.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.phase == Phase::Leaving
    }
}

/// Says that changes wait for `node`, unless that was said a moment ago: one report is many changes.
fn signal_changes(outputs: &mut Vec<Output>, node: &NodeId, stream: StreamId) {
    let sent_batch =
        |output: &Output| matches!(output, Output::Changes(other, on) if on == &stream && other == node);
    if !outputs.iter().rev().take(OUTPUTS_SEEN).any(sent_batch) {
        outputs.push(Output::Changes(node.clone(), stream));
    }
}

fn check(patch: &Patch) -> Result<(), Refused> {
    let duplicates = patch
        .set
        .iter()
        .map(|(name, _)| name)
        .chain(&patch.remove)
        .chain(&patch.route);
    for name in duplicates {
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
