//! The engine's counters: events since the process started, each counted where it is decided. Showing them belongs to
//! `GET /metrics`.

/// Counts since the process started. They only rise, but for [`Self::mismatched_buckets`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Sessions that began, here or elsewhere.
    pub created: u64,
    /// Sessions that ended, whether deleted, renamed or expired.
    pub ended: u64,
    /// Sessions this node found idle for their lifetime, so that they expired.
    pub expired: u64,
    /// Sessions bound to another worker than before.
    pub rebound: u64,
    /// Sessions given another id here.
    pub renamed: u64,
    /// Sessions given their old id back here, or deleted, because another session had the id they were renamed to.
    pub renames_undone: u64,
    /// Sessions another node had expired although a later touch was known here; they were sent to it again.
    pub revived: u64,
    /// Sessions handed off: removed here once the nodes that should hold them did.
    pub handed_off: u64,
    /// Times this node started over: it dropped its table because it had been away for longer than tombstones live, or
    /// because it took another time while it was joining.
    pub started_over: u64,
    /// Times this node's time was corrected to the cluster's.
    pub time_corrected: u64,
    /// Records stamped anew after such a correction.
    pub restamped: u64,
    /// Expiries of other nodes that were refused because the session was far from idle by this node's clock.
    pub expiries_refused: u64,
    /// Sessions refused because `session.max_active` was reached.
    pub refused_full: u64,
    /// Attributes that were not kept, because their names match no pattern.
    pub attributes_ignored: u64,
    /// Changes sent to peers.
    pub deltas_sent: u64,
    /// Changes received from peers.
    pub deltas_received: u64,
    /// Records received in transfers: joining and repair.
    pub transfer_sessions_received: u64,
    /// Changes refused because their stamp was too far ahead of this node's clock.
    pub skew_refused: u64,
    /// Times a peer's outbox overflowed.
    pub behind: u64,
    /// Transfers begun because tables differed.
    pub repairs: u64,
    /// Requests for parts of the table this node was too busy to answer.
    pub transfers_refused: u64,
    /// Members this node had not compared tables with when it became ready, because they could not be reached or did
    /// not answer.
    pub joined_without_members: u64,
    /// Buckets found different when tables were last compared.
    pub mismatched_buckets: u64,
    /// Nodes refused because a live one has their id.
    pub duplicate_ids: u64,
    /// Nodes refused because this node tracks no more members.
    pub members_refused: u64,
    /// Members that an operator said are dead.
    pub members_forgotten: u64,
    /// Changes refused because their session is quarantined.
    pub quarantined: u64,
}
