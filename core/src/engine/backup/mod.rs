//! Backup mode: sessions held by the primary and some other nodes instead of by every node.
//!
//! [`placement`] says who holds what, [`borrowed`] which copies may answer, [`handoff`] and [`handoff_pulls`] move sessions
//! to their holders (hinted handoff, Dynamo section 4.6), [`tombstones`] sees to it that every holder learns of a deletion,
//! [`rebinding`] that former holders learn of a binding, [`fetch`] reads a session from another node.
//! Ranking nodes by rendezvous hashing belongs to [`crate::replication::placement`].

pub(in crate::engine) mod borrowed;
pub mod fetch;
pub(in crate::engine) mod handoff;
pub(in crate::engine) mod handoff_pulls;
pub(in crate::engine) mod placement;
mod rebinding;
pub(in crate::engine) mod tombstones;

use crate::base::clock::Now;
use crate::engine::Mode;

/// What the rooms of this module keep. Where every node holds every session there is no placement, and nothing to hand
/// off.
#[derive(Debug)]
pub(in crate::engine) struct Backup {
    pub(in crate::engine) placement: Option<placement::Placement>,
    pub(in crate::engine) unproven: borrowed::Unproven,
    pub(in crate::engine) handoff: handoff::Handoff,
    pub(in crate::engine) handoff_pulls: handoff_pulls::HandoffPulls,
    pub(in crate::engine) tombstones: tombstones::Tombstones,
    pub(in crate::engine) fetches: fetch::Fetches,
}

impl Backup {
    /// Nothing is to be moved yet.
    pub(in crate::engine) fn new(mode: Mode, now: Now) -> Self {
        Self {
            placement: match mode {
                Mode::Delta => None,
                Mode::Backup { .. } => Some(placement::Placement::new(now)),
            },
            unproven: borrowed::Unproven::default(),
            handoff: handoff::Handoff::default(),
            handoff_pulls: handoff_pulls::HandoffPulls::default(),
            tombstones: tombstones::Tombstones::default(),
            fetches: fetch::Fetches::default(),
        }
    }
}
