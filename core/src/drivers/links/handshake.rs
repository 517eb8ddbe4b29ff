//! How a link begins: socket options, and the hello each side says and judges. What follows is in [`super::lane`] and
//! [`super::accept`].

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{LinkConfig, LinkError};
use crate::base::id::NodeId;
use crate::drivers::node::Node;
use crate::net::frame::{self, Frames};
use crate::net::hello::Hello;
use crate::replication::lanes::{LANES_MAX, Lane};

/// How long what was sent may stay unacknowledged by the other side's kernel, and how long a silent connection is
/// kept without asking, before it counts as broken: a cut that drops packets must not hold a link for minutes.
const SILENCE: Duration = Duration::from_secs(6);

/// Small messages go out at once, and a dead connection is noticed.
pub(super) fn prepare(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(SILENCE / 2)
            .with_interval(SILENCE / 6),
    )
}

pub(super) async fn write_hello<W: tokio::io::AsyncWrite + Unpin>(
    node: &Arc<Node>,
    config: &LinkConfig,
    write: &mut W,
    knows: u64,
    lane: Lane,
) -> Result<(), LinkError> {
    let identity = node.with(|engine, _| engine.identity().clone());
    let hello = Hello {
        node: identity.node,
        domain: config.domain.clone(),
        incarnation: identity.incarnation,
        addr: identity.addr,
        knows,
        lane,
    };
    let mut buffer = Vec::new();
    frame::write(&hello.encode()?, &mut buffer);
    write.write_all(&buffer).await.map_err(LinkError::Handshake)?;
    write.flush().await.map_err(LinkError::Handshake)
}

pub(super) async fn read_hello<R: tokio::io::AsyncRead + Unpin>(
    frames: &mut Frames<R>,
) -> Result<Hello, LinkError> {
    let frame = frames.next().await?;
    let frame = frame.ok_or_else(|| LinkError::Ended("closed by the peer before its hello".into()))?;
    Ok(Hello::decode(&frame)?)
}

pub(super) fn accept_hello(
    node: &Arc<Node>,
    config: &LinkConfig,
    hello: &Hello,
    certified: &str,
) -> Result<NodeId, LinkError> {
    if hello.node != certified {
        let problem = format!("it calls itself {} and its certificate {certified}", hello.node);
        return Err(LinkError::Stranger(problem));
    }
    if hello.lane >= LANES_MAX {
        let problem = format!(
            "it makes a link numbered {} where {LANES_MAX} are allowed",
            hello.lane
        );
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
