//! Writes: the operations of callers, each made into one delta and committed.
//!
//! Renaming is in [`super::rename`], the commit in [`super::commit`].

use std::sync::Arc;

use limpet_wire::report::{ATTRIBUTES_MAX, IdleLimit, NAME_MAX, VALUE_MAX};

use super::{Patch, Refused, Written};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::base::limits::SESSION_BYTES_MAX;
use crate::engine::Engine;
use crate::replication::write_set::WriteSet;
use crate::session::{Change, Record, Register, Stamp, Touch};

/// For how long after a session began at another node changes made here tell its beginning as well.
const BEGUN_LATELY_MS: u64 = 3000;

/// A change as a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Made {
    /// The life that callers know the session by; for a deletion, the one that ends.
    pub(in crate::engine) life: Stamp,
    /// The change's stamp.
    pub(in crate::engine) stamp: Stamp,
    /// The delta.
    pub(in crate::engine) delta: Record,
}

impl Engine {
    /// Changes a session; a patch creates it where there is none.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn change(&mut self, key: &SessionKey, change: Change, now: Now) -> Result<Written, Refused> {
        let made = self.delta_of(key, change, now)?;
        Ok(self.commit_made(key, made, now))
    }

    /// See [`Self::change`].
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn patch(&mut self, key: &SessionKey, patch: Patch, now: Now) -> Result<Written, Refused> {
        self.change(key, Change::Patch(patch), now)
    }

    /// What `change` would make of the session of `key`, as a delta that is yet to be committed.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(in crate::engine) fn delta_of(
        &mut self,
        key: &SessionKey,
        change: Change,
        now: Now,
    ) -> Result<Made, Refused> {
        self.check_ready()?;
        let stamp = self.stamp(now);
        let made = match change {
            Change::Patch(patch) => check_patch(&patch).and_then(|()| self.patch_at(key, patch, stamp, now)),
            Change::Delete => self.deletion_at(key, stamp, now),
        };
        self.counters.refused_full += u64::from(matches!(made, Err(Refused::Full(_))));
        let (life, delta) = made?;
        Ok(Made { life, stamp, delta })
    }

    /// Commits a delta that was made here or elsewhere.
    pub(in crate::engine) fn commit_made(&mut self, key: &SessionKey, made: Made, now: Now) -> Written {
        let Made { life, stamp, delta } = made;
        let written = self.commit(key, delta, stamp, now);
        Written { life, ..written }
    }

    /// What `patch`, made at `stamp`, changes, and in the life that callers know as which. Looks the session up once.
    fn patch_at(
        &self,
        key: &SessionKey,
        patch: Patch,
        stamp: Stamp,
        now: Now,
    ) -> Result<(Stamp, Record), Refused> {
        let known = self.table.get(key);
        let current = match self.served(known, now) {
            Ok(record) => Some(record),
            Err(Refused::Incomplete) => return Err(Refused::Incomplete),
            Err(_) => None,
        };
        let mut delta = Record::default();
        let life = match current.and_then(Record::life) {
            Some(life) => life,
            None => {
                self.begin_life(key, known, stamp, &mut delta)?;
                stamp
            }
        };
        let register = |value| Register { life, stamp, value };
        if patch.replace {
            let names = known
                .into_iter()
                .flat_map(Record::values)
                .map(|(name, _)| name.clone());
            delta.attributes = names.map(|name| (name, register(None))).collect();
        }
        for name in patch.remove {
            delta.attributes.insert(name.into(), register(None));
        }
        for (name, value) in patch.set {
            delta.attributes.insert(name.into(), register(Some(value)));
        }
        if let Some(value) = patch.max_inactive {
            delta.max_inactive = Some(Register { life, stamp, value });
            // Whoever misses the rename of this session takes it for whole from here on.
            let origin = current.and_then(|current| current.lifecycle.renamed_from.clone());
            delta
                .lifecycle
                .change(|lifecycle| lifecycle.renamed_from = origin);
        }
        if let Some(route) = patch.route {
            let value = Arc::from(route);
            delta.route = Some(Register { life, stamp, value });
        }
        delta.last_touch = Some(Touch {
            life,
            at_ms: self.touch_ms(known, now),
        });
        let (values, names, bytes) = match current {
            Some(current) => current.measure_with(&delta),
            None => Record::default().measure_with(&delta),
        };
        // Removed names are remembered until the session ends; there is a bound for them as well.
        if values > ATTRIBUTES_MAX || names > 4 * ATTRIBUTES_MAX || bytes > SESSION_BYTES_MAX {
            return Err(too_large());
        }
        if let Some(current) = current.filter(|_| self.may_overtake_beginning(life, stamp)) {
            delta.join(&current.beginning(life));
        }
        let first = current.and_then(Record::first_life).unwrap_or(life);
        Ok((first, delta))
    }

    /// Whether a change at `stamp` may reach others before the beginning of the session, which another node has just told.
    /// They would refuse it beside another session of this id.
    fn may_overtake_beginning(&self, life: Stamp, stamp: Stamp) -> bool {
        let is_young = stamp.wall_ms().saturating_sub(life.wall_ms()) < BEGUN_LATELY_MS;
        is_young && life.node != self.config.node.tag()
    }

    /// Begins another life of the session of `key` with `delta`, made at `stamp`. `known` is what is left of earlier
    /// ones.
    fn begin_life(
        &self,
        key: &SessionKey,
        known: Option<&Record>,
        stamp: Stamp,
        delta: &mut Record,
    ) -> Result<(), Refused> {
        if let Some(most) = self.config.max_active
            && self.sessions() >= most
            && !key.is_reserved()
        {
            return Err(Refused::Full(most));
        }
        if let Some(known) = known {
            // Its time is up, whether a node has said so yet or not.
            let over = known.life().max(known.lifecycle.expired.map(|last| last.life));
            // A node that has not heard of the end of an earlier life must not take the two for one.
            *delta = known.ends();
            delta
                .lifecycle
                .change(|lifecycle| lifecycle.deleted = lifecycle.deleted.max(over.unwrap_or_default()));
        }
        let value = if key.is_reserved() {
            IdleLimit::Forever
        } else {
            self.config.max_inactive
        };
        delta.max_inactive = Some(Register {
            life: stamp,
            stamp,
            value,
        });
        Ok(())
    }

    /// Touches a session: its idle time starts over. Replicated at most once per `touch_interval`.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn touch(&mut self, key: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        let known = self.table.get(key);
        let record = self.served(known, now)?;
        let version = record.version();
        let idle = record.max_inactive.as_ref().map(|r| r.value);
        let life = record.life().ok_or(Refused::NotFound)?;
        let first = record.first_life().unwrap_or(life);
        let at_ms = self.touch_ms(known, now);
        let delta = Record::touch_only(Touch { life, at_ms });
        if self.touches.is_deferred(key) {
            self.join(key, &delta, now);
            return Ok(Written {
                key: key.clone(),
                life: first,
                version,
                write_set: WriteSet::default(),
            });
        }
        let interval = self.config.touch_interval;
        self.touches
            .note_sent(key.clone(), idle, interval, self.members.time_ms(now));
        let written = self.commit(key, delta, version, now);
        Ok(Written {
            life: first,
            ..written
        })
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

    /// The time of a touch now: never before the last one of `known`, should the clock have been set back.
    pub(in crate::engine) fn touch_ms(&self, known: Option<&Record>, now: Now) -> u64 {
        let last = known.and_then(|record| record.last_touch);
        self.members.time_ms(now).max(last.map_or(0, |touch| touch.at_ms))
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::NotReady`].
    pub fn delete(&mut self, key: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.change(key, Change::Delete, now)
    }

    /// What a deletion at `stamp` changes, and of the life that callers know as which.
    fn deletion_at(&self, key: &SessionKey, stamp: Stamp, now: Now) -> Result<(Stamp, Record), Refused> {
        let known = self.table.get(key);
        let known = known.filter(|known| self.served(Some(known), now) != Err(Refused::NotFound));
        let known = known.ok_or(Refused::NotFound)?;
        Ok((known.first_life().unwrap_or(stamp), known.deletion(stamp)))
    }
}

/// Whether names and values are within their bounds.
pub(in crate::engine) fn check_patch(patch: &Patch) -> Result<(), Refused> {
    let set = patch.set.iter().map(|(name, _)| name);
    let mut names = set.chain(&patch.remove).chain(&patch.route);
    if names.any(|name| name.is_empty() || name.len() > NAME_MAX) {
        return Err(Refused::BadName(format!("a name has 1 to {NAME_MAX} bytes")));
    }
    match patch.set.iter().find(|(_, value)| value.len() > VALUE_MAX) {
        Some((name, value)) => Err(Refused::TooLarge(format!(
            "attribute {name} has {} bytes where {VALUE_MAX} are allowed",
            value.len()
        ))),
        None => Ok(()),
    }
}

/// A session would hold too much.
pub(in crate::engine) fn too_large() -> Refused {
    Refused::TooLarge(format!(
        "a session holds at most {ATTRIBUTES_MAX} attributes and {SESSION_BYTES_MAX} bytes"
    ))
}
