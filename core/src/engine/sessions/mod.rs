//! Sessions: what callers do with them (read, change, touch, bind, rename, delete), and how they end by themselves.
//!
//! ```text
//! lookup             the record of a session
//! write              operations of callers, as deltas
//! commit             a delta into the table and into the outboxes of its replicas
//! rename, identity   another id for a session; what happens under its earlier ids
//! touches, expiry    how other nodes hear of touches; how idle sessions end
//! ```
//! Waiting for a session that other nodes hold belongs to [`crate::engine::backup::fetch`]; HTTP and other encodings to
//! [`crate::api`].

mod commit;
pub(in crate::engine) mod expiry;
pub(in crate::engine) mod identity;
mod lookup;
mod refute;
mod rename;
pub(in crate::engine) mod touches;
mod write;

pub(in crate::engine) use write::{Made, check_patch, too_large};

pub use rename::InUse;

pub use crate::session::Patch;

use crate::base::id::SessionKey;
use crate::replication::write_set::WriteSet;
use crate::session::Stamp;

/// A change that was made here and is on its way.
#[derive(Debug)]
pub struct Written {
    /// The session, under the id at which the change was made.
    pub key: SessionKey,
    /// The life that callers know the session by; for a deletion, the one that ended.
    pub life: Stamp,
    /// The change's stamp.
    pub version: Stamp,
    /// What to wait for, if copies are wanted.
    pub write_set: WriteSet,
}

/// Why a change was not made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such session.
    #[error("there is no such session")]
    NotFound,
    /// The condition of the change does not hold.
    #[error("the condition does not hold")]
    Unmet,
    /// Another session has the id.
    #[error("another session has this id")]
    InUse,
    /// The session would be too large; keep less in it.
    #[error("{0}")]
    TooLarge(String),
    /// Nobody declares this worker.
    #[error("no node declares a worker with the route {0:?}; GET /v1/workers lists those there are")]
    NoSuchWorker(String),
    /// A name that cannot be one.
    #[error("{0}")]
    BadName(String),
    /// `session.max_active` is reached.
    #[error("this node holds session.max_active = {0} sessions and takes no new ones")]
    Full(usize),
    /// A part of the session is here and the rest is not: it must be neither shown nor written over.
    #[error("a part of this session is still on its way to this node")]
    Incomplete,
    /// The session is not here, and who may have it does not answer.
    #[error("the nodes that hold this session cannot be reached now")]
    Unreachable,
    /// The node that decides whether the condition holds did not answer in time. Whether it made the change is not known.
    #[error("the node that decides about this session did not answer in time; the change may have been made")]
    Undecided,
    /// No majority of the members agrees that anybody may decide.
    #[error("no majority of the members can be reached, which has to agree")]
    NoQuorum,
    /// The node does not have the whole table yet, or is stopping.
    #[error("not ready: {0}")]
    NotReady(String),
}
