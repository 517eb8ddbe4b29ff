//! Backup mode: sessions held by the primary and some other nodes instead of by every node.
//!
//! [`placement`] says who holds what, [`handoff`] and [`handoff_pulls`] move sessions to their replicas (hinted handoff,
//! Dynamo section 4.6), [`fetch`] reads a session from another node.
//! Ranking nodes by rendezvous hashing belongs to [`crate::replication::placement`].

pub mod fetch;
pub(in crate::engine) mod handoff;
pub(in crate::engine) mod handoff_pulls;
pub(in crate::engine) mod placement;
