//! The outputs of membership: what has to be done or known elsewhere after a call.
//!
//! [`super::Members`] emits them in the order in which they are to take effect. The engine carries them out in one
//! place, `Engine::drain_members`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::id::NodeId;
use crate::membership::{MemberMessage, Timer};

/// One thing to do, or to know.
#[derive(Debug, PartialEq)]
pub enum MembersOutput {
    /// Send this message to a linked node.
    Send(NodeId, MemberMessage),
    /// Announce to this node what this node is.
    Announce(NodeId),
    /// Announce it to every node: the others took this node for failed, and dropped what they knew of it.
    AnnounceToAll,
    /// Make a link to this address and keep it.
    Dial(SocketAddr),
    /// Close the links to this node.
    CloseLink(NodeId),
    /// Hand the timer back to [`super::Members::fire`] after this time.
    Timer(Duration, Timer),
    /// This node is a member, and was none or was gone.
    Up(NodeId),
    /// This node is no member any more.
    Down {
        /// Which one.
        node: NodeId,
        /// Whether it announced that it leaves. Otherwise it failed.
        left: bool,
    },
    /// A later incarnation of this node took the place of the one that was known: a new process with an empty memory,
    /// or the same one after it refuted its own failure.
    Replaced(NodeId),
    /// This node is gone from the roster: whatever else is kept of it is to be dropped as well.
    Forgotten(NodeId),
    /// This node said, asked for it, which members it knows to be alive, and where they listen.
    Listed(NodeId, Vec<(NodeId, SocketAddr)>),
    /// While joining, this node took another time than it had: what it got of the table before may be stamped by a
    /// time that does not stand.
    AnotherTime,
    /// The view of the membership changed. Comes after the events of the change.
    Changed,
}
