//! The connections to other nodes. Each node dials every other one: it only sends on the links it made, and only
//! receives on the links made to it, so there is never a question which of two crossing links to keep.
//!
//! ```text
//! [keeper] ─► [dialler] ─► [outgoing] ─► [handshake] ⇄ [handshake] ◄─ [incoming]        decides ─► tasks ─► wire
//!                                             └───► [admission] ◄───┘                   who may link
//! ```
//! Several connections, its *streams*, are made to each node. The first is what a node is linked by; the others are made
//! once it is up, and end with it. What goes over links is the engine's business.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::net::compress::Compression;
use crate::net::tls::Tls;

pub mod admission;
mod dialler;
mod error;
mod handshake;
mod handshakes;
mod incoming;
pub mod keeper;
mod notices;
mod outgoing;

pub use dialler::dial_all;
pub use error::{LinkError, Misconfigured, NetworkError, PeerMisbehaved};
pub use incoming::accept_all;
use keeper::Dial;
use notices::Notices;

/// A name to find nodes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupConfig {
    /// `name:port`. Each of its addresses is dialled.
    pub name: String,
    /// How often it is resolved.
    pub interval: Duration,
}

/// What links need of the configuration.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The cluster every peer must belong to.
    pub cluster: String,
    /// The domain every peer must share; empty for none.
    pub domain: String,
    /// Seeds as written: `host:port`.
    pub seeds: Vec<String>,
    /// A name that other nodes are found by.
    pub lookup: Option<LookupConfig>,
    /// How many streams are made to each peer.
    pub streams: u8,
    /// How frames are written.
    pub compression: Compression,
    /// Changes when certificates are loaded again.
    pub tls: watch::Receiver<Tls>,
    notices: Arc<Notices>,
}

impl LinkConfig {
    /// Links of the domain `domain` of `cluster`, `streams` to each peer, with the certificates in `tls`.
    #[must_use]
    pub fn new(
        cluster: String,
        domain: String,
        seeds: Vec<String>,
        lookup: Option<LookupConfig>,
        streams: u8,
        tls: watch::Receiver<Tls>,
    ) -> Self {
        Self {
            cluster,
            domain,
            seeds,
            lookup,
            streams,
            compression: Compression::None,
            tls,
            notices: Arc::default(),
        }
    }

    /// Says in the log why an attempt made no link, unless it is said elsewhere or was said lately.
    fn log_no_link(&self, dial: &Dial, error: &LinkError) {
        let Dial { addr, stream, .. } = dial;
        match error {
            // Membership tells who is not reached, and the engine whose id is taken.
            LinkError::Network(NetworkError::Connect(_) | NetworkError::Timeout(_))
            | LinkError::Misconfigured(Misconfigured::IdTaken { .. })
            | LinkError::AlreadyLinked(_) => tracing::debug!(%addr, %stream, %error, "no link"),
            _ if !self.notices.is_new(error.notice(&format!("to {addr}"))) => {
                tracing::debug!(%addr, %stream, %error, "no link");
            }
            LinkError::Misconfigured(Misconfigured::OtherDomain(_)) => {
                tracing::info!(%addr, %error, "no link");
            }
            _ => tracing::warn!(%addr, %stream, %error, "no link"),
        }
    }
}
