//! Proposals, which are conditional changes on their way to the node that decides them, and the verdicts on their way
//! back, with their bytes.
//!
//! Who decides, and how, belongs to [`crate::engine`].

use bincode::{Decode, Encode};
use limpet_wire::report::IdleLimit;

use crate::session::{Change, Condition, Patch, Stamp};

/// A change to be made if the condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What has to hold.
    pub condition: Condition,
    /// The change.
    pub change: Change,
}

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The change was made, in the life that callers know as `life`, with this stamp.
    Made {
        /// Of a deletion, the life that ended.
        life: Stamp,
        /// Of the change.
        stamp: Stamp,
    },
    /// The receiver is not the one to decide, as far as it knows. Nothing was changed.
    NotOwner,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a proposed change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// The condition does not hold.
    Unmet,
    /// There is no such session.
    NotFound,
    /// The session would be too large.
    TooLarge,
    /// The receiver holds this many sessions and takes no new ones.
    Full(u64),
    /// The receiver cannot have all of the session now, or what the proposer holds of it was refused.
    Unreachable,
    /// No majority of the members agrees that the receiver may decide.
    NoQuorum,
    /// A majority did not hold the decision in time; whether one does is not known.
    Undecided,
}

#[derive(Encode, Decode)]
pub(super) struct WireProposal(WireCondition, WireChange);

#[derive(Encode, Decode)]
enum WireCondition {
    Absent,
    Present,
    Version(u64, u64),
}

#[derive(Encode, Decode)]
enum WireChange {
    Patch {
        set: Vec<(String, Vec<u8>)>,
        remove: Vec<String>,
        max_inactive: Option<WireIdle>,
        route: Option<String>,
        replace: bool,
    },
    Delete,
}

#[derive(Encode, Decode)]
enum WireIdle {
    Forever,
    Millis(u64),
}

#[derive(Encode, Decode)]
pub(super) enum WireVerdict {
    Made(u64, u64, u64, u64),
    NotOwner,
    Refused(Refusal),
}

impl From<&Proposal> for WireProposal {
    fn from(proposal: &Proposal) -> Self {
        let condition = match proposal.condition {
            Condition::Absent => WireCondition::Absent,
            Condition::Present => WireCondition::Present,
            Condition::Version(Stamp { time, node }) => WireCondition::Version(time, node),
        };
        let change = match &proposal.change {
            Change::Delete => WireChange::Delete,
            Change::Patch(patch) => WireChange::Patch {
                set: patch
                    .set
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_vec()))
                    .collect(),
                remove: patch.remove.clone(),
                max_inactive: patch.max_inactive.map(WireIdle::from),
                route: patch.route.clone(),
                replace: patch.replace,
            },
        };
        Self(condition, change)
    }
}

impl From<WireProposal> for Proposal {
    fn from(WireProposal(condition, change): WireProposal) -> Self {
        let condition = match condition {
            WireCondition::Absent => Condition::Absent,
            WireCondition::Present => Condition::Present,
            WireCondition::Version(time, node) => Condition::Version(Stamp { time, node }),
        };
        let change = match change {
            WireChange::Delete => Change::Delete,
            WireChange::Patch {
                set,
                remove,
                max_inactive,
                route,
                replace,
            } => Change::Patch(Patch {
                set: set
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
                remove,
                max_inactive: max_inactive.map(IdleLimit::from),
                route,
                replace,
            }),
        };
        Self { condition, change }
    }
}

impl From<IdleLimit> for WireIdle {
    fn from(idle: IdleLimit) -> Self {
        match idle {
            IdleLimit::Forever => Self::Forever,
            IdleLimit::Millis(ms) => Self::Millis(ms),
        }
    }
}

impl From<WireIdle> for IdleLimit {
    fn from(idle: WireIdle) -> Self {
        match idle {
            WireIdle::Forever => Self::Forever,
            WireIdle::Millis(ms) => Self::Millis(ms),
        }
    }
}

impl From<Verdict> for WireVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Made { life, stamp } => Self::Made(life.time, life.node, stamp.time, stamp.node),
            Verdict::NotOwner => Self::NotOwner,
            Verdict::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<WireVerdict> for Verdict {
    fn from(verdict: WireVerdict) -> Self {
        let stamp = |time, node| Stamp { time, node };
        match verdict {
            WireVerdict::Made(life_time, life_node, time, node) => Self::Made {
                life: stamp(life_time, life_node),
                stamp: stamp(time, node),
            },
            WireVerdict::NotOwner => Self::NotOwner,
            WireVerdict::Refused(refusal) => Self::Refused(refusal),
        }
    }
}
