//! The connections to other nodes. Each node dials every other one: on the link it made it only speaks, on the
//! links made to it it only listens, so there is never a question which of two crossing links to keep.
//!
//! ```text
//! dial ─► TCP ─► TLS ─► hello ⇄ hello ─► link_up ─► messages ... ─► closed ─► link_down ─► dial at once, then back off
//! ```

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::engine::{Engine, Listening, Peer};
use super::node::{LinkCommand, LinkSignal, Node};
use crate::base::backoff::Backoff;
use crate::base::id::NodeId;
use crate::base::limits::{HANDSHAKE_TIMEOUT, MEMBERS_MAX};
use crate::membership::{Identity, Member};
use crate::net::frame::{self, FrameError, Frames};
use crate::net::hello::{Hello, HelloError};
use crate::net::identity::{self, IdentityError};
use crate::net::tls::{SERVER_NAME, Tls};
use crate::replication::message::{self, MessageError};

const BACKOFF_LEAST: Duration = Duration::from_millis(50);
const BACKOFF_MOST: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a link must have been up for its end to be looked into at once rather than after a pause.
const LASTED: Duration = Duration::from_secs(1);
/// How long what was sent may stay unacknowledged by the other side's kernel, and how long a silent connection is
/// kept without asking, before it counts as broken: a cut that drops packets must not hold a link for minutes.
const SILENCE: Duration = Duration::from_secs(6);
/// How often to look whether links are missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many incoming links may be shaking hands at once; further ones wait in the kernel's backlog.
const HANDSHAKES_MAX: usize = 256;

/// What links need of the configuration.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// The cluster every peer must belong to.
    pub cluster: String,
    /// The domain every peer must share; empty for none.
    pub domain: String,
    /// Seeds as written: `host:port`.
    pub seeds: Vec<String>,
    /// Changes when certificates are loaded again.
    pub tls: watch::Receiver<Tls>,
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
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The peer knows a later run of this node than this one, so this one took a later number.
    #[error(
        "the peer knows a later run of this node, which its clock was ahead of; tries again as the latest"
    )]
    Outrun,
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
                // Nobody listens there. Anything else may be somebody who has the sessions.
                Err(error) => answered &= error.is_refused(),
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
    let result = link(node, config, addr, up).await;
    match &result {
        Ok(_) => {}
        Err(error) => {
            match error {
                LinkError::Connect(_) | LinkError::Timeout(_) => tracing::debug!(%addr, %error, "no link"),
                _ => tracing::warn!(%addr, %error, "no link"),
            }
            node.with(|engine, now| engine.unreachable(addr, error.is_refused(), now));
        }
    }
    result
}

/// Makes a link to `addr`, calls `up` once it is, and speaks on it until it ends.
async fn link(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    up: impl FnOnce(),
) -> Result<Outcome, LinkError> {
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
    let tcp = connect
        .map_err(|_| LinkError::Timeout(CONNECT_TIMEOUT))?
        .map_err(LinkError::Connect)?;
    let shake = async {
        prepare(&tcp).map_err(LinkError::Connect)?;
        let client = config.tls.borrow().client.clone();
        let name = ServerName::try_from(SERVER_NAME).map_err(|e| LinkError::Stranger(e.to_string()))?;
        let stream = TlsConnector::from(client)
            .connect(name, tcp)
            .await
            .map_err(LinkError::Handshake)?;
        let certified = identity::of_cluster(stream.get_ref().1.peer_certificates(), &config.cluster)?;
        let (read, mut write) = tokio::io::split(stream);
        write_hello(node, config, &mut write, 0).await?;
        let mut frames = Frames::new(read);
        let hello = read_hello(&mut frames).await?;
        let peer = accept_hello(node, config, &hello, &certified.node)?;
        if node.with(|engine, now| engine.outrun(hello.knows, now)) {
            return Err(LinkError::Outrun);
        }
        Ok::<_, LinkError>((peer, hello, frames, write))
    };
    let (peer, hello, mut frames, mut write) = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake)
        .await
        .map_err(|_| LinkError::Timeout(HANDSHAKE_TIMEOUT))??;

    let identity = Identity {
        node: hello.node,
        addr: hello.addr,
        incarnation: hello.incarnation,
    };
    let signal = node.with(|engine, now| {
        let linked = engine.peers().get(&peer).is_some_and(Peer::is_linked);
        (!linked).then(|| {
            let signal = node.register_link(&peer);
            engine.link_up(&peer, identity, now);
            signal
        })
    });
    let Some(signal) = signal else {
        return Ok(Outcome::AlreadyLinked);
    };
    tracing::info!(peer = %peer, %addr, "link up");
    up();
    let began = tokio::time::Instant::now();
    let reason = speak(node, &peer, &signal, &mut frames, &mut write).await;
    node.remove_link(&peer, &signal);
    tracing::info!(peer = %peer, %addr, %reason, "link closed");
    node.with(|engine, now| engine.link_down(&peer, false, now));
    Ok(Outcome::Ended {
        lasted: began.elapsed() >= LASTED,
    })
}

/// Small messages go out at once, and a dead connection is noticed.
fn prepare(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(SILENCE / 2)
            .with_interval(SILENCE / 6),
    )
}

/// Sends what waits for `peer` until the connection ends. The peer says nothing on this link, so the reading side
/// only finds out, at once, when it closes.
async fn speak<R, W>(
    node: &Arc<Node>,
    peer: &NodeId,
    signal: &Arc<LinkSignal>,
    frames: &mut Frames<R>,
    write: &mut W,
) -> LinkError
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    tokio::select! {
        error = say_all(node, peer, signal, write) => LinkError::Ended(error.to_string()),
        result = frames.next() => match result {
            Ok(None) => LinkError::Ended("closed by the peer".into()),
            Ok(Some(_)) => LinkError::Stranger("the peer spoke on a link it only listens on".into()),
            Err(error) => error.into(),
        },
        () = signal.close.notified() => LinkError::Ended("closed by this node".into()),
    }
}

/// Sends what waits for `peer` as it comes; returns why no more can be sent.
async fn say_all<W>(
    node: &Arc<Node>,
    peer: &NodeId,
    signal: &Arc<LinkSignal>,
    write: &mut W,
) -> std::io::Error
where
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    loop {
        let messages = node.with(|engine, _| engine.next_messages(peer));
        if messages.is_empty() {
            signal.wake.notified().await;
            continue;
        }
        for message in messages {
            match message::encode(&message) {
                Ok(body) => frame::write(&body, &mut buffer),
                Err(error) => tracing::error!(peer = %peer, %error, "a message was not sent"),
            }
        }
        if let Err(error) = write.write_all(&buffer).await {
            return error;
        }
        if let Err(error) = write.flush().await {
            return error;
        }
        buffer.clear();
        buffer.shrink_to(1 << 20);
    }
}

/// Accepts links until the node is gone.
pub async fn accept_all(node: Arc<Node>, config: LinkConfig, listener: TcpListener) {
    let shaking = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = shaking.clone().acquire_owned().await else {
            return;
        };
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others have to be closed first.
                tracing::error!(%error, "accepting a link");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (node, config) = (node.clone(), config.clone());
        tokio::spawn(async move {
            let shake = tokio::time::timeout(HANDSHAKE_TIMEOUT, greet(&node, &config, tcp)).await;
            drop(permit);
            match shake.unwrap_or(Err(LinkError::Timeout(HANDSHAKE_TIMEOUT))) {
                Err(reason) => tracing::warn!(%from, %reason, "refused a link"),
                Ok((peer, on, frames, stays)) => {
                    match listen(&node, &peer, on, frames).await {
                        Ok(()) => tracing::debug!(peer = %peer, "its link to this node closed"),
                        Err(LinkError::Frame(reason @ FrameError::Io(_))) => {
                            tracing::info!(peer = %peer, %reason, "its link to this node broke");
                        }
                        Err(reason) => {
                            tracing::warn!(peer = %peer, %from, %reason, "closed its link: it breaks the protocol");
                        }
                    }
                    drop(stays);
                }
            }
        });
    }
}

type Incoming = tokio_rustls::server::TlsStream<TcpStream>;
type Greeted = (
    NodeId,
    Listening,
    Frames<tokio::io::ReadHalf<Incoming>>,
    tokio::io::WriteHalf<Incoming>,
);

async fn greet(node: &Arc<Node>, config: &LinkConfig, tcp: TcpStream) -> Result<Greeted, LinkError> {
    prepare(&tcp).map_err(LinkError::Connect)?;
    let server = config.tls.borrow().server.clone();
    let stream = TlsAcceptor::from(server)
        .accept(tcp)
        .await
        .map_err(LinkError::Handshake)?;
    let certified = identity::of_cluster(stream.get_ref().1.peer_certificates(), &config.cluster)?;
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = Frames::new(read);
    let hello = read_hello(&mut frames).await?;
    let peer = accept_hello(node, config, &hello, &certified.node)?;
    let knows = node.with(|engine, _| engine.roster().get(&peer).map_or(0, |m| m.identity.incarnation));
    write_hello(node, config, &mut write, knows).await?;
    let on = node.with(|engine, _| engine.hello_heard(&peer, hello.addr));
    Ok((peer, on, frames, write))
}

/// Hears what `peer` says until it closes the connection.
async fn listen(
    node: &Arc<Node>,
    peer: &NodeId,
    on: Listening,
    mut frames: Frames<tokio::io::ReadHalf<Incoming>>,
) -> Result<(), LinkError> {
    while let Some(frame) = frames.next().await? {
        let message = message::decode(&frame)?;
        if !node.with(|engine, now| engine.hear(peer, on, message, now)) {
            return Ok(()); // a later link took its place
        }
    }
    Ok(())
}

async fn write_hello<W: tokio::io::AsyncWrite + Unpin>(
    node: &Arc<Node>,
    config: &LinkConfig,
    write: &mut W,
    knows: u64,
) -> Result<(), LinkError> {
    let identity = node.with(|engine, _| engine.identity().clone());
    let hello = Hello {
        node: identity.node,
        domain: config.domain.clone(),
        incarnation: identity.incarnation,
        addr: identity.addr,
        knows,
    };
    let mut buffer = Vec::new();
    frame::write(&hello.encode()?, &mut buffer);
    write.write_all(&buffer).await.map_err(LinkError::Handshake)?;
    write.flush().await.map_err(LinkError::Handshake)
}

async fn read_hello<R: tokio::io::AsyncRead + Unpin>(frames: &mut Frames<R>) -> Result<Hello, LinkError> {
    let frame = frames.next().await?;
    let frame = frame.ok_or_else(|| LinkError::Ended("closed by the peer before its hello".into()))?;
    Ok(Hello::decode(&frame)?)
}

fn accept_hello(
    node: &Arc<Node>,
    config: &LinkConfig,
    hello: &Hello,
    certified: &str,
) -> Result<NodeId, LinkError> {
    if hello.node != certified {
        let problem = format!("it calls itself {} and its certificate {certified}", hello.node);
        return Err(LinkError::Stranger(problem));
    }
    if hello.domain != config.domain {
        let problem = format!("it is of domain {:?}, this is {:?}", hello.domain, config.domain);
        return Err(LinkError::Stranger(problem));
    }
    let own = node.with(|engine, _| engine.node().clone());
    if hello.node == own.as_str() {
        return Err(LinkError::Stranger(format!(
            "another node is called {own} as well; give it a name of its own"
        )));
    }
    let peer = NodeId::parse(&hello.node).map_err(|error| LinkError::Stranger(error.to_string()))?;
    if let Some(other) = node.with(|engine, _| engine.is_elsewhere(&peer, hello.addr)) {
        let problem = format!(
            "{peer} is linked from {other} already and now calls from {}: two nodes have one name; give each its own",
            hello.addr
        );
        return Err(LinkError::Stranger(problem));
    }
    Ok(peer)
}
