//! The engine's outputs: what a caller has to carry out after a call.
//!
//! Carrying them out (waking a writer, starting a timer, answering a waiting caller) belongs to [`crate::drivers`].

use std::net::SocketAddr;
use std::time::Duration;

use limpet_wire::table::TableVersion;

use crate::base::id::NodeId;
use crate::engine::backup::fetch::FetchId;
use crate::membership::Timer;
use crate::replication::acks::Waiter;
use crate::replication::position::StreamId;

/// What there is to do.
#[derive(Debug)]
pub enum Output {
    /// Keep a link to this address.
    Dial(SocketAddr),
    /// Messages wait for this peer's link of the stream, or changes that somebody waits for.
    Wake(NodeId, StreamId),
    /// Changes wait for this peer's link of the stream; a moment later will do.
    Changes(NodeId, StreamId),
    /// End the link of the stream to this peer.
    Close(NodeId, StreamId),
    /// Hand the timer back after the time.
    Timer(Duration, Timer),
    /// A caller's wait is over, with this many copies.
    Copies(Waiter, usize),
    /// The worker table has a new version.
    Table(TableVersion),
    /// Random bytes of the operating system are wanted, for [`crate::engine::Engine::add_entropy`]. Asked for again
    /// should none come.
    Entropy,
    /// A fetch is over; whether everybody who was asked has answered.
    Fetched(FetchId, bool),
}
