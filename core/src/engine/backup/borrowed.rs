//! Kept and borrowed copies, in `backup` mode: whether this node is told of every change to a session it has.
//!
//! ```text
//! kept        this node is one of the holders, and has all of it from one that was
//! borrowed    fetched or passed on: nobody tells this node of changes. It answers alone only for [`STAY`], and only
//!             while the view is the one it was fetched under
//! unproven    this node has become a holder of a session of which it had a borrowed copy, or came by a part. The copy
//!             answers only together with those of all others, counts in no digest, and is not given to anybody as a
//!             part of the table
//! ```
//! An unproven copy becomes kept when a comparison of tables brings the session from a node that keeps it. When there was
//! time for that and nobody has brought it ([`PROOF`]), everybody who may have it is asked, and then it is the best there is.
//!
//! Whether a session is here at all, and who its holders are, belongs to [`super::placement`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::backup::fetch::FetchId;
use crate::engine::backup::handoff::STAY;
use crate::engine::peers::intake::Refusals;
use crate::engine::{Engine, Phase};
use crate::session::Record;

/// How long after a change of the view, or after it came, an unproven copy waits for a node that keeps the session: a
/// comparison of tables with each, a second look and the transfer.
const PROOF: Duration = Duration::from_secs(3);

/// How many unproven copies one tick asks for.
const PROVEN_PER_TICK: usize = 64;

/// The unproven copies. At most one entry per session of the table.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unproven {
    /// Since when, or when it was last asked for.
    since: BTreeMap<SessionKey, Duration>,
    /// The copies that are being asked for.
    asked: BTreeMap<FetchId, SessionKey>,
}

impl Unproven {
    /// The copy of `key` is unproven from now on.
    pub(in crate::engine) fn add(&mut self, key: SessionKey, since: Duration) {
        self.since.entry(key).or_insert(since);
    }

    /// The copy of `key` is kept, or gone.
    pub(in crate::engine) fn remove(&mut self, key: &SessionKey) {
        self.since.remove(key);
    }

    pub(in crate::engine) fn contains(&self, key: &SessionKey) -> bool {
        !self.since.is_empty() && self.since.contains_key(key)
    }

    pub(in crate::engine) fn keys(&self) -> impl Iterator<Item = &SessionKey> {
        self.since.keys()
    }
}

impl Engine {
    /// Whether the copy here is one of those that are told of every change.
    #[must_use]
    pub fn is_kept(&self, key: &SessionKey, record: &Record) -> bool {
        let everywhere = self.backup.placement.is_none() || key.is_reserved();
        everywhere || self.is_held_here(key, record) && !self.is_unproven(key)
    }

    /// Whether the copy here is not known to be as good as those of the other holders. It may have waited for its
    /// handoff when this node became a holder.
    pub(in crate::engine) fn is_unproven(&self, key: &SessionKey) -> bool {
        self.backup.unproven.contains(key) || self.backup.handoff.has(key)
    }

    /// Whether a session may be shown as it is here although nobody else who may have it answers: a kept copy may, and a
    /// borrowed one for a moment, if nothing has changed about who holds it.
    #[must_use]
    pub fn may_answer_alone(&self, key: &SessionKey, now: Now) -> bool {
        let Ok(record) = self.find(key, now) else {
            return false;
        };
        self.is_kept(key, record) || {
            let until = self.backup.handoff.stays_until(key);
            let changed = self.backup.placement.as_ref().map_or(now.mono, |p| p.changed());
            until.is_some_and(|until| until > now.mono && until > changed + STAY)
        }
    }

    /// Joins the changes that `from` sent, and what they mean for ends and copies here.
    pub(in crate::engine) fn apply_changes(
        &mut self,
        from: &NodeId,
        changes: Vec<(SessionKey, Record)>,
        now: Now,
    ) -> Refusals {
        let (ended, parts) = (self.tombstones_in(&changes), self.parts_in(&changes));
        let refused = self.apply_deltas(from, changes, now);
        self.note_unproven(parts, now);
        self.forward_tombstones(from, ended);
        refused
    }

    /// The sessions of which these changes bring a part that looks like the whole: they are not here, and the change is
    /// not the one that created or renamed them.
    fn parts_in(&self, changes: &[(SessionKey, Record)]) -> Vec<SessionKey> {
        if self.backup.placement.is_none() {
            return Vec::new();
        }
        let is_part = |(key, record): &&(SessionKey, Record)| {
            record
                .max_inactive
                .as_ref()
                .is_some_and(|idle| idle.stamp > idle.life) // a rename keeps the earlier stamps
                && !key.is_reserved()
                && !self.table.get(key).is_some_and(Record::is_alive)
        };
        changes
            .iter()
            .filter(is_part)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Whether what is here of `key` is a session that is kept here. What moves from there to another id is all of it.
    pub(in crate::engine) fn keeps(&self, key: &SessionKey) -> bool {
        let record = self.table.get(key).filter(|record| record.is_alive());
        self.backup.placement.is_none() || record.is_some_and(|record| self.is_kept(key, record))
    }

    /// Whether all of a session is here.
    pub(in crate::engine) fn is_whole(&self, key: &SessionKey) -> bool {
        let record = self.table.get(key);
        record.is_some_and(|record| record.is_alive() && record.is_complete())
    }

    /// The copies of `keys`, where this node is to hold them, came from somebody who does not keep them, or in part.
    pub(in crate::engine) fn note_unproven(&mut self, keys: Vec<SessionKey>, now: Now) {
        for key in keys {
            let alive = self.table.get(&key).filter(|record| record.is_alive());
            if alive.is_some_and(|record| self.is_held_here(&key, record)) {
                self.backup.unproven.add(key, now.mono);
            }
        }
    }

    /// Takes the unproven copies out of the digests for `node`.
    pub(in crate::engine) fn leave_out_unproven(&self, node: &NodeId, digests: &mut [u64]) {
        for key in self.backup.unproven.keys() {
            if let Some(record) = self.table.get(key)
                && self.is_counted_with(node, key, record)
                && let Some(digest) = digests.get_mut(key.bucket())
            {
                *digest ^= record.digest();
            }
        }
    }

    /// Asks for copies that no comparison of tables has brought, a few at a time.
    pub(in crate::engine) fn progress_unproven(&mut self, now: Now) {
        let Some(placement) = self.backup.placement.as_ref() else {
            return;
        };
        if self.backup.unproven.since.is_empty() || self.phase != Phase::Ready {
            return;
        }
        let changed = placement.changed();
        let is_due = |since: &Duration| now.mono.saturating_sub(changed.max(*since)) >= PROOF;
        let all = self.backup.unproven.since.iter();
        let due = all.filter(|(_, since)| is_due(since)).map(|(key, _)| key.clone());
        let due: Vec<_> = due.take(PROVEN_PER_TICK).collect();
        for key in due {
            self.backup.unproven.since.insert(key.clone(), now.mono); // asked again where somebody does not answer
            match self.fetch(&key, now) {
                Ok(Some(id)) => drop(self.backup.unproven.asked.insert(id, key)),
                Ok(None) => self.backup.unproven.remove(&key),
                Err(_) => {}
            }
        }
    }

    /// A fetch is over. An unproven copy for which everybody was asked is the best there is, or has become so by an
    /// answer.
    pub(in crate::engine) fn end_proof(&mut self, id: FetchId, answered: bool) {
        if let Some(key) = self.backup.unproven.asked.remove(&id)
            && answered
        {
            self.backup.unproven.remove(&key);
        }
    }
}
