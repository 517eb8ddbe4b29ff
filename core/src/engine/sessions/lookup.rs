//! Lookups: the record of a session, if it may be shown.
//!
//! Getting a record that other nodes hold belongs to [`crate::engine::backup::fetch`].

use super::Refused;
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::members::TIMES_APART_MS;
use crate::engine::{Engine, Phase};
use crate::session::{Fate, Record};

impl Engine {
    /// The session of `key`, if there is one, its idle lifetime is not over, and all of it is here. An id it had before
    /// does not find it.
    #[must_use]
    pub fn session(&self, key: &SessionKey, now: Now) -> Option<&Record> {
        self.find(key, now).ok()
    }

    /// Whether the session of `key` was deleted after `since_ms` (this node's time, in milliseconds since 1970), be it
    /// begun again or not. Members' times differ by some milliseconds: what another node deleted so shortly before counts
    /// as deleted after.
    #[must_use]
    pub fn was_deleted_since(&self, key: &SessionKey, since_ms: u64) -> bool {
        let Some(record) = self.table.get(key) else {
            return false;
        };
        let fates = record.lifecycle.fates.iter();
        let ended = fates.filter_map(|(_, fate)| match fate {
            Fate::Ended(at) => Some(*at),
            Fate::Renamed(_) => None,
        });
        let mut deletions = ended.chain([record.lifecycle.deleted]);
        deletions.any(|deleted| {
            let error_ms = if deleted.node == self.config.node.tag() {
                0
            } else {
                TIMES_APART_MS
            };
            deleted.wall_ms().saturating_add(error_ms) > since_ms
        })
    }

    /// See [`Self::session`].
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Incomplete`].
    pub fn find(&self, key: &SessionKey, now: Now) -> Result<&Record, Refused> {
        self.served(self.table.get(key), now)
    }

    /// `known`, if it is a session whose idle lifetime is not over and all of it is here.
    pub(in crate::engine) fn served<'a>(
        &self,
        known: Option<&'a Record>,
        now: Now,
    ) -> Result<&'a Record, Refused> {
        let record = known
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

    /// Whether a record is a session whose idle lifetime is not over.
    fn is_served(&self, record: &Record, now: Now) -> bool {
        record.is_alive()
            && self
                .expires_ms(record)
                .is_none_or(|end| end > self.members.time_ms(now))
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
