//! What the engine counts; shown by `GET /metrics` and nowhere else.

/// What the engine counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Sessions that began, here or elsewhere.
    pub created: u64,
    /// Sessions that ended, in any way.
    pub ended: u64,
    /// Sessions this node found idle for too long.
    pub expired: u64,
    /// Sessions bound to another worker than before.
    pub rebound: u64,
    /// Sessions given another id here.
    pub renamed: u64,
    /// Sessions another node had found idle too early, which were told to it again.
    pub revived: u64,
    /// Sessions forgotten here because the nodes that should hold them do.
    pub handed_off: u64,
    /// Times this node dropped its table because it had been away for too long.
    pub started_over: u64,
    /// Words that a session is idle which by this node's time was far from it.
    pub expiries_refused: u64,
    /// Sessions refused because `session.max_active` was reached.
    pub refused_full: u64,
    /// Attributes that were not kept, because their names match no pattern.
    pub attributes_ignored: u64,
    /// Changes sent to peers.
    pub deltas_sent: u64,
    /// Changes received from peers.
    pub deltas_received: u64,
    /// Records received because they were asked for.
    pub transfer_sessions_received: u64,
    /// Changes refused because their stamp was too far ahead.
    pub skew_refused: u64,
    /// Times a peer's outbox overflowed.
    pub behind: u64,
    /// Transfers begun because tables differed.
    pub repairs: u64,
    /// Requests for parts of the table this node was too busy to answer.
    pub transfers_refused: u64,
    /// Members that could not be reached, or did not answer, when this node became ready, so that tables were not
    /// compared with them.
    pub joined_without_members: u64,
    /// Buckets found different when tables were last compared.
    pub mismatched_buckets: u64,
    /// Nodes refused because a live one has their name.
    pub duplicate_ids: u64,
}
