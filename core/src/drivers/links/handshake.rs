//! How a link begins: socket options, and the hello each side says and judges. What follows is in [`super::stream`] and
//! [`super::accept`].

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{LinkConfig, LinkError, outgoing};
use crate::base::id::NodeId;
use crate::drivers::node::Node;
use crate::net::frame::{self, Frames};
use crate::net::hello::{Hello, Verdict};
use crate::replication::position::StreamId;
use crate::replication::streams::STREAMS_MAX;

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
    stream: StreamId,
    verdict: Verdict,
) -> Result<(), LinkError> {
    let identity = node.with(|engine, _| engine.identity().clone());
    let hello = Hello {
        node: identity.node.into(),
        domain: config.domain.clone(),
        incarnation: identity.incarnation,
        addr: identity.addr,
        knows,
        stream: stream.number(),
        verdict,
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

/// What is wrong with a hello whatever else is known: it contradicts its certificate, or is of no use to anybody.
pub(super) fn check_hello(hello: &Hello, certified: &str) -> Result<NodeId, LinkError> {
    if hello.node != certified {
        let problem = format!("it calls itself {} and its certificate {certified}", hello.node);
        return Err(LinkError::Stranger(problem));
    }
    if hello.stream >= STREAMS_MAX {
        let problem = format!(
            "it makes a link numbered {} where {STREAMS_MAX} are allowed",
            hello.stream
        );
        return Err(LinkError::Stranger(problem));
    }
    NodeId::parse(&hello.node).map_err(|error| LinkError::Stranger(error.to_string()))
}

/// What the node that made a link, `peer`, is to be told. Where its name is held by another process, that one is
/// asked first whether it still is there.
pub(super) async fn judge(node: &Arc<Node>, config: &LinkConfig, hello: &Hello, peer: &NodeId) -> Verdict {
    if hello.domain != config.domain {
        return Verdict::OtherDomain;
    }
    let own = node.with(|engine, _| engine.identity().clone());
    if *hello.node == *own.node {
        let itself = hello.addr == own.addr && hello.incarnation == own.incarnation;
        let later = hello.incarnation > own.incarnation;
        return Verdict::IdTaken(if later || itself { own.addr } else { hello.addr });
    }
    match node.with(|engine, _| engine.linked_elsewhere(peer, hello.addr)) {
        None => Verdict::Welcome,
        Some(holder) if outgoing::is_there(node, config, holder, peer).await => Verdict::IdTaken(holder),
        Some(_) => {
            node.with(|engine, now| engine.give_up_link(peer, now));
            Verdict::Welcome
        }
    }
}

/// Refuses the node that made a link, or that answered where another of its name is linked: says so to whom it
/// concerns here.
pub(super) fn refuse(node: &Arc<Node>, hello: &Hello, peer: &NodeId, verdict: Verdict) -> LinkError {
    let Verdict::IdTaken(holder) = verdict else {
        return LinkError::OtherDomain(peer.clone());
    };
    node.with(|engine, now| {
        let own = engine.identity();
        let same_name = peer == engine.node();
        if same_name && hello.addr == own.addr && hello.incarnation == own.incarnation {
            return; // this node itself, by another of its addresses
        }
        if same_name && holder != own.addr {
            engine.id_taken(peer, holder, now);
        } else {
            engine.duplicate_refused(peer, holder, hello.addr, now);
        }
    });
    LinkError::IdTaken(peer.clone(), holder)
}

/// Heeds what the node a link was made to said of it.
pub(super) fn heed(node: &Arc<Node>, hello: &Hello, peer: &NodeId) -> Result<(), LinkError> {
    match hello.verdict {
        Verdict::Welcome => Ok(()),
        Verdict::OtherDomain => Err(LinkError::OtherDomain(peer.clone())),
        Verdict::IdTaken(holder) => {
            let own = node.with(|engine, now| {
                let own = engine.identity().clone();
                if hello.addr == own.addr && hello.incarnation == own.incarnation {
                    return own; // this node itself, by another of its addresses
                }
                if holder == own.addr {
                    engine.duplicate_refused(peer, holder, hello.addr, now);
                } else {
                    engine.id_taken(peer, holder, now);
                }
                own
            });
            let own = NodeId::parse(&own.node).map_err(|error| LinkError::Stranger(error.to_string()))?;
            Err(LinkError::IdTaken(own, holder))
        }
    }
}
