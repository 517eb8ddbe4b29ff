//! Replication as pure values: outboxes and acknowledgements, placement, state transfer, digests, messages and their
//! bytes.
//!
//! ```text
//! change ─► outbox of each peer's stream ─► batch ─► link
//!                        ▲                            │
//!               removed by an ack ◄───────────────────┘
//! ```
//! Decisions that need all of these together belong to [`crate::engine`], the table to [`crate::store`], sockets and
//! timers to [`crate::drivers`].

pub mod acks;
pub mod digest;
pub mod fingerprint;
pub mod message;
pub mod outbox;
pub mod placement;
pub mod position;
mod primitives;
pub mod proposal;
pub mod quorum;
mod records;
pub mod streams;
pub mod transfer;
pub mod write_set;
