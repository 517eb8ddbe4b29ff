//! The engine's outputs: what a caller has to carry out after a call.
//!
//! They are carried out in their order: waking a writer, starting a timer, answering a waiting caller. That belongs to
//! [`crate::drivers`].

use std::net::SocketAddr;
use std::time::Duration;

use limpet_wire::table::TableVersion;

use crate::base::id::{NodeId, SessionKey};
use crate::engine::backup::fetch::FetchId;
use crate::engine::conditional::DecisionId;
use crate::engine::sessions::{Refused, Written};
use crate::membership::Timer;
use crate::replication::acks::Waiter;
use crate::replication::outbox::Dropped;
use crate::replication::position::StreamId;

/// Large values that the engine has let go of.
#[derive(Debug)]
pub enum Discarded {
    /// A former table and everything about it.
    Engine(Box<super::Engine>),
    /// What was known of a peer, and what it was still to be sent.
    Peer(Box<super::Peer>),
    /// Changes that a peer did not take in time.
    Changes(Vec<Dropped>),
}

/// What there is to do.
#[derive(Debug)]
pub enum Output {
    /// A link to this address is wanted.
    Dial(SocketAddr),
    /// A link back to this address is wanted, at once: the node that listens there has just made one.
    DialBack(SocketAddr),
    /// Control messages wait for this peer on the stream, or changes whose acknowledgement somebody waits for.
    Wake(NodeId, StreamId),
    /// Changes wait for this peer on the stream; they may be gathered for a moment.
    Changes(NodeId, StreamId),
    /// The link of the stream to this peer is to be closed.
    Close(NodeId, StreamId),
    /// The timer is to be handed back ([`crate::engine::Engine::fire`]) after the time.
    Timer(Duration, Timer),
    /// A caller's wait for copies is over: so many are known.
    Copies(Waiter, usize),
    /// The worker table has a new version.
    Table(TableVersion),
    /// Random bytes of the operating system are wanted, for [`crate::engine::Engine::add_entropy`]. Asked for again
    /// should none come.
    Entropy,
    /// What is no longer needed: to be dropped, which takes as long as it is large.
    Discard(Discarded),
    /// A fetch is over. Says whether everybody who was asked has answered.
    Fetched(FetchId, bool),
    /// What became of a proposal.
    Decided(DecisionId, Result<Written, Refused>),
    /// Changes wait for the store that is attached: [`crate::engine::Engine::take_committed`].
    Committed,
    /// Load this session from the store that is attached, for a fetch: [`crate::engine::Engine::on_loaded`].
    Load(FetchId, SessionKey),
}
