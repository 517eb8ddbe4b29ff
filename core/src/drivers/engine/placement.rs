//! Which other node holds which session: what two nodes compare their tables by, and what one sends the other.

use super::Engine;
use crate::base::id::{NodeId, SessionKey};
use crate::session::Record;

impl Engine {
    /// Whether `node` is to hold the session as well.
    #[expect(clippy::unused_self, reason = "every node of the domain holds every session")]
    pub(super) const fn is_shared(&self, _node: &NodeId, _key: &SessionKey, _record: &Record) -> bool {
        true
    }

    /// The digests of the buckets, counting what this node and `node` both hold.
    pub(super) fn digests_for(&self, _node: &NodeId) -> Vec<u64> {
        self.table.digests().collect()
    }
}
