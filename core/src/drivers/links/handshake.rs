//! The handshake: how a link begins on the wire. Socket options, TLS, certificates, and the hello each end writes and
//! reads. What a hello is worth is decided by [`super::admission`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::LinkConfig;
use super::admission::{self, Judgement, hello_of};
use super::error::{LinkError, Misconfigured, NetworkError, PeerMisbehaved};
use crate::base::id::NodeId;
use crate::base::limits::HANDSHAKE_TIMEOUT;
use crate::drivers::link_age::{LinkAge, Side};
use crate::drivers::node::Node;
use crate::engine::InboundLink;
use crate::net::frame::{self, Frames};
use crate::net::hello::{Hello, Verdict};
use crate::net::identity;
use crate::net::tls::SERVER_NAME;
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged by the other kernel, and how long a silent connection is kept without a
/// question, before it counts as broken: a partition that drops packets must not hold a link for minutes.
const SILENCE: Duration = Duration::from_secs(6);
/// How long a process whose id another one claims may take to show that it is alive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection this node made, on which hellos were exchanged and nothing else.
pub(super) struct Outbound {
    pub(super) peer: NodeId,
    /// What the peer answered.
    pub(super) hello: Hello,
    pub(super) frames: Frames<ReadHalf<TlsStream<TcpStream>>>,
    pub(super) write: WriteHalf<TlsStream<TcpStream>>,
    pub(super) link_age: LinkAge,
}

/// A connection another node made, whose peer was welcomed.
pub(super) struct Inbound {
    pub(super) peer: NodeId,
    pub(super) link: InboundLink,
    pub(super) frames: Frames<ReadHalf<server::TlsStream<TcpStream>>>,
    /// Nothing more is written on it, but dropping it would close the connection.
    pub(super) write: WriteHalf<server::TlsStream<TcpStream>>,
    pub(super) link_age: LinkAge,
}

/// Connects to `addr` and exchanges hellos.
pub(super) async fn connect(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    stream: StreamId,
) -> Result<Outbound, LinkError> {
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
    let tcp = connecting
        .map_err(|_| NetworkError::Timeout(CONNECT_TIMEOUT))?
        .map_err(NetworkError::Connect)?;
    tokio::time::timeout(HANDSHAKE_TIMEOUT, exchange(node, config, tcp, stream))
        .await
        .map_err(|_| NetworkError::Timeout(HANDSHAKE_TIMEOUT))?
}

async fn exchange(
    node: &Arc<Node>,
    config: &LinkConfig,
    tcp: TcpStream,
    stream: StreamId,
) -> Result<Outbound, LinkError> {
    prepare(&tcp).map_err(NetworkError::Broken)?;
    let tls = config.tls.borrow().clone();
    let name = ServerName::try_from(SERVER_NAME)
        .map_err(|error| Misconfigured::Tls(std::io::Error::other(error)))?;
    let tls_stream = TlsConnector::from(tls.client.clone())
        .connect(name, tcp)
        .await
        .map_err(LinkError::tls)?;
    let shown = tls_stream.get_ref().1.peer_certificates();
    let certified = identity::of_cluster(shown, &config.cluster)?;
    let link_age = LinkAge::begin(Side::Made, config.tls.clone(), tls, shown);
    let (read, mut write) = tokio::io::split(tls_stream);
    write_hello(node, config, &mut write, 0, stream, Verdict::Welcome).await?;
    let mut frames = Frames::new(read);
    let hello = read_hello(&mut frames).await?;
    let peer = admission::check(&hello, &certified.node)?;
    Ok(Outbound {
        peer,
        hello,
        frames,
        write,
        link_age,
    })
}

/// Answers the node that made the connection `tcp`, and admits it or says why not.
pub(super) async fn accept(
    node: &Arc<Node>,
    config: &LinkConfig,
    tcp: TcpStream,
) -> Result<Inbound, LinkError> {
    prepare(&tcp).map_err(NetworkError::Broken)?;
    let tls = config.tls.borrow().clone();
    let tls_stream = TlsAcceptor::from(tls.server.clone())
        .accept(tcp)
        .await
        .map_err(LinkError::tls)?;
    let shown = tls_stream.get_ref().1.peer_certificates();
    let certified = identity::of_cluster(shown, &config.cluster)?;
    let link_age = LinkAge::begin(Side::Accepted, config.tls.clone(), tls, shown);
    let (read, mut write) = tokio::io::split(tls_stream);
    let mut frames = Frames::new(read);
    let hello = read_hello(&mut frames).await?;
    let peer = admission::check(&hello, &certified.node)?;
    let verdict = judge(node, config, &hello, &peer).await;
    let knows = node.with(|engine, _| engine.latest_incarnation(&peer));
    let stream = StreamId::new(hello.stream);
    write_hello(node, config, &mut write, knows, stream, verdict).await?;
    let link = node.with(|engine, now| {
        admission::enforce(engine, &hello, &peer, verdict, now)?;
        Ok::<_, LinkError>(engine.on_hello(&peer, stream, hello.addr))
    })?;
    Ok(Inbound {
        peer,
        link,
        frames,
        write,
        link_age,
    })
}

/// This node's verdict on `peer`. Probes the process that holds its id, if there is another.
pub(super) async fn judge(node: &Arc<Node>, config: &LinkConfig, hello: &Hello, peer: &NodeId) -> Verdict {
    match node.with(|engine, _| admission::judge(engine, &config.domain, hello, peer)) {
        Judgement::Given(verdict) => verdict,
        Judgement::Probe(holder) => {
            let alive = is_alive(node, config, holder, peer).await;
            node.with(|engine, now| admission::on_probed(engine, peer, holder, alive, now))
        }
    }
}

/// Whether the process that is `peer` at `addr` is alive: whether it answers in time, and not only its kernel.
async fn is_alive(node: &Arc<Node>, config: &LinkConfig, addr: SocketAddr, peer: &NodeId) -> bool {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, connect(node, config, addr, CONTROL)).await;
    matches!(answer, Ok(Ok(answer)) if answer.peer == *peer)
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

async fn write_hello<W: AsyncWrite + Unpin>(
    node: &Arc<Node>,
    config: &LinkConfig,
    write: &mut W,
    knows: u64,
    stream: StreamId,
    verdict: Verdict,
) -> Result<(), LinkError> {
    let own = node.with(|engine, _| engine.identity().clone());
    let hello = hello_of(&own, &config.domain, knows, stream, verdict);
    let mut buffer = Vec::new();
    frame::write(&hello.encode().map_err(Misconfigured::OwnHello)?, &mut buffer);
    write.write_all(&buffer).await.map_err(LinkError::tls)?;
    write.flush().await.map_err(LinkError::tls)
}

async fn read_hello<R: AsyncRead + Unpin>(frames: &mut Frames<R>) -> Result<Hello, LinkError> {
    let frame = frames.next().await?.ok_or(NetworkError::ClosedByPeer)?;
    Ok(Hello::decode(&frame).map_err(PeerMisbehaved::Hello)?)
}
