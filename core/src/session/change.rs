//! Changes as callers ask for them, and conditions they may set. What a change makes of a record depends on the record,
//! so it becomes a delta only where it is made.

use limpet_wire::report::IdleLimit;

use super::{AttributeFilter, Stamp, Value};

/// A change of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Some of it is set and removed; creates the session where there is none.
    Patch(Patch),
    /// It is deleted.
    Delete,
}

/// What a patch sets and removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Attributes to set.
    pub set: Vec<(String, Value)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime.
    pub max_inactive: Option<IdleLimit>,
    /// The worker to bind to.
    pub route: Option<String>,
    /// Whether every attribute that is not set is removed.
    pub replace: bool,
}

impl Patch {
    /// Leaves out the attributes to set that are not to be kept; says which.
    #[must_use]
    pub fn keep(&mut self, filter: &AttributeFilter) -> Vec<String> {
        let ignored = self.set.extract_if(.., |(name, _)| !filter.keeps(name));
        ignored.map(|(name, _)| name).collect()
    }
}

/// What has to hold for a change to be made, of the state in which the change would find the session. One node decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no such session.
    Absent,
    /// There is one.
    Present,
    /// There is one, and its last write has this stamp.
    Version(Stamp),
}
