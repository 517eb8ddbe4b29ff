//! Conditional changes: made if a condition holds, which one node decides, so that of several callers at several nodes
//! one has its way.
//!
//! ```text
//! asker    propose ──► the owner of the session by this node's view ──► wait ──► commit what was decided
//! owner    join what the asker holds ──► fetch what is missing ──► decide ──► commit ──► answer
//! ```
//! The owner of a session is the first of the ready members by rendezvous hashing. Both nodes commit the change: the
//! asker, so that it counts copies as of any change of its own, and so that its next read finds it; the owner, so that its
//! next decision knows of it. Stamps are the owner's.
//!
//! Nodes whose views differ may take different nodes for the owner. One that is asked and is not, as far as it knows,
//! says so, and the asker asks again by the view it has by then. Two parts of a cluster that is cut decide each for
//! itself. Where that must not be, a majority decides: [`quorum`].
//!
//! What changes and conditions are is [`crate::session::Change`]'s and [`crate::session::Condition`]'s affair.

mod asker;
mod owner;
pub mod quorum;

use crate::base::clock::Now;
use crate::engine::EngineConfig;

pub(in crate::engine) use asker::Asked;
pub use asker::DecisionId;
pub(in crate::engine) use owner::Deciding;

/// What this module keeps.
#[derive(Debug)]
pub(in crate::engine) struct Conditional {
    /// What callers of this node wait for.
    pub(in crate::engine) asked: Asked,
    /// What this node is to decide once it has the session.
    pub(in crate::engine) deciding: Deciding,
    /// Where a majority decides.
    pub(in crate::engine) quorum: Option<Box<quorum::Quorum>>,
}

impl Conditional {
    /// What a node keeps that starts now.
    pub(in crate::engine) fn new(config: &EngineConfig, now: Now) -> Self {
        let quorum = |founders| Box::new(quorum::Quorum::new(config, founders, now));
        Self {
            asked: Asked::default(),
            deciding: Deciding::default(),
            quorum: config.quorum_founders.map(quorum),
        }
    }
}
