//! Uses and moves: what decides whether a session still goes on, and under which id.

use std::sync::Arc;

use super::Stamp;

/// A use of a session. Greater is later; a use in a later life is later than any in an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Used {
    /// The life in which it was used.
    pub life: Stamp,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Where a session went that was given another id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// The end of every life under the old id.
    pub over: Stamp,
    /// The new id, in the same app.
    pub to: Arc<str>,
}
