//! How changes reach the other nodes, as pure values: what waits for whom, what was acknowledged, what is missing.
//!
//! ```text
//! local change ─► outbox of every peer's stream ─► batch ─► link          (net, elsewhere)
//!                             ▲                                   │
//!                        settled by ◄─────────── ack ◄────────────┘
//! ```
//! Deliberately absent: sockets, tasks, timers, and the table itself.

pub mod acks;
pub mod digest;
pub mod fingerprint;
pub mod message;
pub mod outbox;
pub mod placement;
pub mod position;
mod primitives;
mod records;
pub mod streams;
pub mod transfer;
pub mod write_set;
