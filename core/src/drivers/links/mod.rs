//! The connections to other nodes. Each node dials every other one: on the link it made it only speaks, on the
//! links made to it it only listens, so there is never a question which of two crossing links to keep.
//!
//! ```text
//! dial ─► TCP ─► TLS ─► hello ⇄ hello ─► link_up ─► messages ... ─► closed ─► link_down ─► dial at once, then back off
//! ```
//! `links` connections are made to each node, its streams. The first is what a node is linked by, and is kept here; the
//! others live and die with it, in [`stream`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::link_age::Over;
use super::node::{LinkCommand, Node};
use crate::base::backoff::Backoff;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::Engine;
use crate::membership::Member;
use crate::net::compress::Compression;
use crate::net::frame::FrameError;
use crate::net::hello::HelloError;
use crate::net::identity::IdentityError;
use crate::net::tls::Tls;
use crate::replication::message::PeerMisbehaved;

mod handshake;
mod incoming;
mod lookup;
mod notices;
mod outgoing;

pub use incoming::accept_all;
pub use lookup::LookupConfig;
use notices::Notices;

const BACKOFF_LEAST: Duration = Duration::from_millis(50);
const BACKOFF_MOST: Duration = Duration::from_secs(2);
/// How long a link must have been up for its end to be looked into at once rather than after a pause.
const LASTED: Duration = Duration::from_secs(1);
/// How often to look whether links are missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
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
    /// How many links are made to each peer.
    pub links: u8,
    /// How frames are written.
    pub compression: Compression,
    /// Changes when certificates are loaded again.
    pub tls: watch::Receiver<Tls>,
    notices: Arc<Notices>,
}

impl LinkConfig {
    /// Links of the domain `domain` of `cluster`, `links` to each peer, with the certificates in `tls`.
    #[must_use]
    pub fn new(
        cluster: String,
        domain: String,
        seeds: Vec<String>,
        lookup: Option<LookupConfig>,
        links: u8,
        tls: watch::Receiver<Tls>,
    ) -> Self {
        Self {
            cluster,
            domain,
            seeds,
            lookup,
            links,
            compression: Compression::None,
            tls,
            notices: Arc::default(),
        }
    }

    /// Says in the log why a link came to nothing, unless it is said elsewhere or was said already.
    fn log_refused(&self, addr: SocketAddr, error: &LinkError) {
        match error {
            LinkError::Connect(_) | LinkError::Timeout(_) | LinkError::IdTaken(..) => {
                tracing::debug!(%addr, %error, "no link");
            }
            LinkError::OtherDomain(peer) => {
                if self.notices.is_new(format!("{peer} is of another domain")) {
                    tracing::info!(%addr, peer = %peer, "no link: it is of another domain");
                }
            }
            _ => tracing::warn!(%addr, %error, "no link"),
        }
    }
}

/// Why a link is not, or no longer, one.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The TLS handshake failed: a certificate of another CA, an expired one, or none.
    #[error("the TLS handshake failed: {0}")]
    Handshake(std::io::Error),
    /// The certificate is in order but not of this cluster.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The hello is none.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The hello contradicts the certificate or this node's configuration.
    #[error("{0}")]
    Stranger(String),
    /// It is of this cluster, but of another domain, with which this node has nothing to do.
    #[error("{0} is of another domain")]
    OtherDomain(NodeId),
    /// Two processes have one name, and the other one stays.
    #[error("the name {0} belongs to the node at {1}")]
    IdTaken(NodeId, SocketAddr),
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not a message.
    #[error(transparent)]
    Message(#[from] PeerMisbehaved),
    /// The peer knows a later run of this node than this one, so this one took a later number.
    #[error(
        "the peer knows a later run of this node, which its clock was ahead of; tries again as the latest"
    )]
    Outpaced,
    /// It is to be made again, so that both sides show their certificates again.
    #[error("to be made again: {0}")]
    Over(#[from] Over),
    /// Took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended or failed.
    #[error("the connection ended: {0}")]
    Ended(String),
}

impl LinkError {
    /// Whether the other side's process is certainly not there.
    fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// Keeps links to seeds and members until the node is gone.
pub async fn dial_all(
    node: Arc<Node>,
    config: LinkConfig,
    mut commands: mpsc::UnboundedReceiver<LinkCommand>,
) {
    let (ended, mut endings) = mpsc::unbounded_channel::<SocketAddr>();
    let mut dialing: HashSet<SocketAddr> = HashSet::new();
    for seed in config.seeds.clone() {
        tokio::spawn(keep_seed(node.clone(), config.clone(), seed));
    }
    if let Some(lookup) = config.lookup.clone() {
        tokio::spawn(lookup::keep_name(node.clone(), config.clone(), lookup));
    }
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut wanted = Vec::new();
        tokio::select! {
            command = commands.recv() => match command {
                Some(LinkCommand::Dial(addr)) => wanted.push(addr),
                None => return,
            },
            Some(addr) = endings.recv() => { dialing.remove(&addr); }
            _ = look.tick() => wanted = node.with(|engine, now| engine.wanted_links(now)),
        }
        for addr in wanted {
            if dialing.len() < MEMBERS_MAX && dialing.insert(addr) {
                let (node, config, ended) = (node.clone(), config.clone(), ended.clone());
                tokio::spawn(async move {
                    keep_link(&node, &config, addr).await;
                    let _ = ended.send(addr); // closed: the daemon is stopping
                });
            }
        }
    }
}

/// How a link came to nothing, or to an end.
enum Outcome {
    /// Another task keeps, or makes, a link to the same node.
    AlreadyLinked,
    /// It was up, and ended.
    Ended {
        /// Whether it was up long enough to be worth making again at once.
        lasted: bool,
    },
}

/// Keeps one link as long as the engine wants it.
async fn keep_link(node: &Arc<Node>, config: &LinkConfig, addr: SocketAddr) {
    let mut backoff = Backoff::new(BACKOFF_LEAST, BACKOFF_MOST);
    loop {
        let needless = node.with(|engine, _| engine.is_leaving() || is_own_or_linked(engine, addr));
        if needless {
            return;
        }
        match try_link(node, config, addr, || ()).await {
            Ok(Outcome::AlreadyLinked) => return,
            // At once: is the process still there?
            Ok(Outcome::Ended { lasted: true }) => backoff.reset(),
            Err(_) if !node.with(|engine, now| engine.wanted_links(now).contains(&addr)) => return,
            Ok(Outcome::Ended { lasted: false }) | Err(_) => {
                tokio::time::sleep(backoff.step(rand::random())).await;
            }
        }
    }
}

/// Tries a seed for as long as the daemon runs, whenever nothing is linked at its address: a seed is how a cut
/// that outlasted everybody's memory heals.
async fn keep_seed(node: Arc<Node>, config: LinkConfig, seed: String) {
    let mut backoff = Backoff::new(BACKOFF_LEAST, BACKOFF_MOST);
    let tried = || node.with(|engine, now| engine.seed_tried(&seed, now));
    loop {
        let addrs: Vec<_> = match tokio::net::lookup_host(&seed).await {
            Ok(addrs) => addrs.collect(),
            Err(error) => {
                tracing::warn!(seed, %error, "the seed's name does not resolve");
                Vec::new()
            }
        };
        let (mut again, mut answered) = (false, !addrs.is_empty());
        for addr in addrs {
            if node.with(|engine, _| is_own_or_linked(engine, addr)) {
                continue;
            }
            match try_link(&node, &config, addr, tried).await {
                Ok(Outcome::Ended { lasted }) => again |= lasted,
                Ok(Outcome::AlreadyLinked) => {}
                // Nobody listens there, or somebody who has other sessions. Anyone else may have them.
                Err(error) => answered &= error.is_refused() || matches!(error, LinkError::OtherDomain(_)),
            }
        }
        if answered {
            tried();
        }
        if again {
            backoff.reset();
        } else {
            tokio::time::sleep(backoff.step(rand::random())).await;
        }
    }
}

fn is_own_or_linked(engine: &Engine, addr: SocketAddr) -> bool {
    let linked = |(_, member): (_, &Member)| member.linked && member.identity.addr == addr;
    engine.identity().addr == addr || engine.roster().iter().any(linked)
}

/// Makes a link, speaks on it, and tells the engine when its address turns out to be dead.
async fn try_link(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    up: impl FnOnce(),
) -> Result<Outcome, LinkError> {
    let Some(_dialling) = node.begin_dial(addr) else {
        return Ok(Outcome::AlreadyLinked);
    };
    let result = outgoing::keep_first(node, config, addr, up).await;
    match &result {
        Ok(_) => {}
        Err(error) => {
            config.log_refused(addr, error);
            node.with(|engine, now| engine.unreachable(addr, error.is_refused(), now));
        }
    }
    result
}
