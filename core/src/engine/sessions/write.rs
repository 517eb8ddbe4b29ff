//! Writes: the operations of callers, each made into one delta and committed.
//!
//! Renaming is in [`super::rename`], the commit in [`super::commit`].

use std::borrow::Cow;
use std::sync::Arc;

use limpet_wire::report::{ATTRIBUTES_MAX, IdleLimit};

use super::{Patch, Refused, Written};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::base::limits::SESSION_BYTES_MAX;
use crate::engine::Engine;
use crate::replication::write_set::WriteSet;
use crate::session::{Record, Register, Stamp, Touch};

impl Engine {
    /// Changes a session; creates it where there is none.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn patch(&mut self, key: &SessionKey, patch: Patch, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        patch.check()?;
        let stamp = self.stamp(now);
        let made = self.delta_of(key, patch, stamp, now);
        self.counters.refused_full += u64::from(matches!(made, Err(Refused::Full(_))));
        let (key, delta) = made?;
        Ok(self.commit(&key, delta, stamp, now))
    }

    /// What `patch`, made at `stamp`, changes, and under which id. Looks the session up once.
    fn delta_of<'a>(
        &self,
        key: &'a SessionKey,
        patch: Patch,
        stamp: Stamp,
        now: Now,
    ) -> Result<(Cow<'a, SessionKey>, Record), Refused> {
        let (key, known) = self.resolve(key, now);
        let current = match self.served(known, now) {
            Ok(record) => Some(record),
            Err(Refused::Incomplete) => return Err(Refused::Incomplete),
            Err(_) => None,
        };
        let mut delta = Record::default();
        let life = match current.and_then(Record::life) {
            Some(life) => life,
            None => {
                self.begin_life(&key, known, stamp, &mut delta)?;
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
            return Err(Refused::TooLarge(format!(
                "a session holds at most {ATTRIBUTES_MAX} attributes and {SESSION_BYTES_MAX} bytes"
            )));
        }
        Ok((key, delta))
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
            delta
                .lifecycle
                .change(|lifecycle| lifecycle.deleted = over.unwrap_or_default());
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
        let (key, known) = self.resolve(key, now);
        let record = self.served(known, now)?;
        let version = record.version();
        let idle = record.max_inactive.as_ref().map(|r| r.value);
        let life = record.life().ok_or(Refused::NotFound)?;
        let at_ms = self.touch_ms(known, now);
        let delta = Record::touch_only(Touch { life, at_ms });
        if self.touches.is_deferred(&key) {
            self.join(&key, &delta, now);
            return Ok(Written {
                key: key.into_owned(),
                version,
                write_set: WriteSet::default(),
            });
        }
        let interval = self.config.touch_interval;
        self.touches.note_sent(
            key.clone().into_owned(),
            idle,
            interval,
            self.members.time_ms(now),
        );
        Ok(self.commit(&key, delta, version, now))
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
        self.check_ready()?;
        let (key, known) = self.resolve(key, now);
        if matches!(self.served(known, now), Err(Refused::NotFound)) {
            return Err(Refused::NotFound);
        }
        let stamp = self.stamp(now);
        Ok(self.commit(&key, Record::tombstone(stamp), stamp, now))
    }
}
