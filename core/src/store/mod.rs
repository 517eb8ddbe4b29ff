//! Where sessions rest: in memory, in buckets that can be compared and copied one by one.
//!
//! A store holds records and answers questions about them. It decides nothing about merging (the session does)
//! and nothing about sending (replication does).

mod deadlines;
mod memory;

pub use deadlines::Deadlines;
pub use memory::{Bucket, Change, Memory};
