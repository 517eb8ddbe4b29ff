//! The places where sessions rest: the table in memory with its deadlines, and the seams for a store behind it.
//!
//! ```text
//! change ─► table ─► feed ─► store          write-behind: [`Feed`]
//!             ▲                │
//!             └── loaded ◄─────┘            read-through: [`Loaded`]
//! ```
//! A store holds records and answers questions about them. How records merge belongs to [`crate::session`], how they
//! reach other nodes to [`crate::replication`], and when a store is asked to [`crate::engine`].

mod deadlines;
mod feed;
mod memory;

pub use deadlines::Deadlines;
pub use feed::{Feed, FeedBatch};
pub use memory::{Bucket, Change, Memory};

use crate::session::Record;

/// A store's answer to a load of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// What it holds. The record is joined into the table, so it never replaces what is newer there.
    Found(Box<Record>),
    /// It holds nothing of the session.
    Nothing,
    /// It could not be asked: whether it holds the session is not known.
    Failed,
}
