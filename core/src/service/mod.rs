//! The service: what callers may do with sessions and workers, and what a node tells of itself, in no protocol's
//! terms.
//!
//! An operation on a session fetches the session where another node holds it, makes one change, and waits for as many
//! copies as the caller wants. Values are bytes. Versions and lives are types with one textual form each. An operation
//! that is refused changed nothing, and the error says who can put that right ([`ServiceError`]).
//!
//! ```text
//! read, list        sessions as they are
//! write, condition  patch, replace, touch, rename, delete; what has to hold for them
//! report            the operations of one report of the filters
//! workers           the worker table; administrative states
//! events            what happens, as it happens
//! status, metrics   what the node knows of itself and of others, as plain values
//! ```
//! Parsing requests, writing answers and checking credentials belong to [`crate::api`]. Deciding belongs to
//! [`crate::engine`], carrying out to [`crate::drivers`].

mod ack;
mod condition;
mod error;
pub mod events;
mod list;
pub mod metrics;
mod read;
mod report;
mod session;
pub mod status;
mod version;
mod workers;
mod write;

use std::sync::Arc;

use tokio::sync::watch;

use crate::drivers::node::Node;
use crate::engine::Engine;
use crate::session::AttributeFilter;

pub use crate::engine::sessions::{InUse, Patch};
pub use crate::engine::workers::admin_state::AdminState;
pub use crate::replication::acks::Level;
pub use crate::session::Value;
pub use ack::Ack;
pub use condition::{BadCondition, Condition};
pub use error::{CallerError, NodeError, ServiceError};
pub use list::Page;
pub use read::Consistency;
pub use report::Applied;
pub use session::{Session, Summary};
pub use version::{BadStamp, Life, Version};
pub use workers::AdminOutcome;
pub use write::Outcome;

/// What the service needs of the configuration, and follows when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What a caller waits for that does not say: `replication.ack`, and `replication.ack_timeout`, which is also the
    /// longest wait.
    pub ack: Ack,
    /// Which attributes are kept: `replication.replicate`.
    pub replicate: AttributeFilter,
}

/// See the module page. One per node; protocols share it.
#[derive(Debug)]
pub struct Service {
    node: Arc<Node>,
    settings: watch::Sender<Arc<Settings>>,
}

impl Service {
    /// The service of `node`.
    #[must_use]
    pub fn new(node: Arc<Node>, settings: Settings) -> Self {
        Self {
            node,
            settings: watch::Sender::new(Arc::new(settings)),
        }
    }

    /// Goes on with other settings. Calls that have begun keep those they began with.
    pub fn adopt(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }
}

/// Leaves out of `patch` the attributes to set that `filter` does not keep, and counts them; the names left out.
fn leave_out(engine: &mut Engine, patch: &mut Patch, filter: &AttributeFilter) -> Vec<String> {
    let ignored = patch.keep(filter);
    engine.note_ignored(ignored.len());
    ignored
}

#[cfg(test)]
mod tests;
