//! The engine's side of a store behind the table: committed changes are fed to it (write-behind), and fetches ask it
//! for sessions that memory lacks (read-through).
//!
//! What a store returns is joined like a peer's record, so it never replaces newer memory. Reading and writing the
//! store belongs to [`crate::drivers`]; without one, none of this costs anything.

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::backup::fetch::FetchId;
use crate::engine::{Engine, Output};
use crate::session::Record;
use crate::store::{Feed, FeedBatch, Loaded};

impl Engine {
    /// Attaches a store: from now on it is fed, holding back up to `feed_bytes_max` bytes, and asked for sessions. Its
    /// first batch has a gap, because what the table holds already is not in the feed.
    pub fn attach_store(&mut self, feed_bytes_max: usize) {
        self.feed = Feed::open(feed_bytes_max);
        self.outputs.push(Output::Committed);
    }

    /// The next changes for the store, of about `bytes` bytes, in the order in which the table took them; `None` when
    /// none wait. [`Output::Committed`] says when there are some again.
    pub fn take_committed(&mut self, bytes: usize) -> Option<FeedBatch> {
        self.feed.take(bytes)
    }

    /// The store's answer to [`Output::Load`].
    pub fn on_loaded(&mut self, fetch: FetchId, loaded: Loaded, now: Now) {
        let Some(key) = self.take_load(fetch) else {
            return; // too late
        };
        let answered = match loaded {
            Loaded::Nothing => true,
            Loaded::Failed => false,
            Loaded::Found(record) => self.commit_loaded(&key, *record, now),
        };
        self.end_load(fetch, answered, now);
    }

    /// Joins a record of the store, and tells the nodes that are to hold it. Returns whether it was believed.
    fn commit_loaded(&mut self, key: &SessionKey, record: Record, now: Now) -> bool {
        if let Err(error) = self.hlc.observe(record.latest(), self.members.time_ms(now)) {
            self.counters.skew_refused += 1;
            tracing::warn!(%error, "refused a session of the store");
            return false;
        }
        let version = record.version();
        self.backup.handoff.keep(key.clone(), now);
        self.commit(key, record, version, now);
        true
    }

    /// Whether the store is to be asked for a session: memory has nothing of it, not even a tombstone.
    pub(in crate::engine) fn may_be_stored(&self, key: &SessionKey) -> bool {
        self.feed.is_open() && !key.is_reserved() && self.table.get(key).is_none()
    }
}
