//! The registers of a voter: for each key that was changed on a condition, the last value it was asked to hold, with its
//! rank. As a value without sockets or clocks.
//!
//! A register is no part of the session table: its value may never have been decided. What it is for is in
//! [`super`]'s page.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use crate::base::id::SessionKey;
use crate::replication::quorum::Rank;
use crate::session::Record;

/// The most bytes of all registers together. A value that would pass it is not held, so its owner answers 503 `no_quorum`
/// or `undecided`.
pub(super) const REGISTERS_BYTES_MAX: usize = 256 << 20;
/// What a register takes beside its key and record.
const OVERHEAD: usize = 128;

/// See the module page.
#[derive(Debug, Clone)]
pub(super) struct Register {
    pub(super) rank: Rank,
    pub(super) record: Record,
    /// Whether this node, which owns the key, knows that it was decided.
    pub(super) is_decided: bool,
    /// When it was last written.
    pub(super) at: Duration,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Registers {
    all: BTreeMap<SessionKey, Register>,
    bytes: usize,
}

fn size(key: &SessionKey, record: &Record) -> usize {
    key.app().len() + key.id().len() + record.size() + OVERHEAD
}

impl Registers {
    pub(super) fn get(&self, key: &SessionKey) -> Option<&Register> {
        self.all.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a value of the key fits.
    pub(super) fn has_room(&self, key: &SessionKey, record: &Record) -> bool {
        let old = self.all.get(key).map_or(0, |old| size(key, &old.record));
        self.bytes - old + size(key, record) <= REGISTERS_BYTES_MAX
    }

    /// Holds a value, unless one of a higher rank is held or there is no room. Says whether it is held, be it by now or
    /// since before.
    pub(super) fn hold(&mut self, key: &SessionKey, rank: Rank, record: &Record, now: Duration) -> bool {
        let held = self.all.get(key).map(|old| old.rank);
        if held.is_some_and(|held| held >= rank) {
            return held == Some(rank);
        }
        if !self.has_room(key, record) {
            return false;
        }
        self.remove(key);
        self.bytes += size(key, record);
        let register = Register {
            rank,
            record: record.clone(),
            is_decided: false,
            at: now,
        };
        self.all.insert(key.clone(), register);
        true
    }

    /// This node knows that the value of this rank was decided.
    pub(super) fn note_decided(&mut self, key: &SessionKey, rank: Rank) {
        if let Some(register) = self.all.get_mut(key).filter(|register| register.rank == rank) {
            register.is_decided = true;
        }
    }

    pub(super) fn remove(&mut self, key: &SessionKey) {
        if let Some(old) = self.all.remove(key) {
            self.bytes -= size(key, &old.record);
        }
    }

    /// Those after `after`, in order.
    pub(super) fn after(&self, after: Option<&SessionKey>) -> impl Iterator<Item = (&SessionKey, &Register)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.all.range((from, Bound::Unbounded))
    }
}
