//! Links other nodes make to this one, on which it only listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::handshake::{check_hello, judge, prepare, read_hello, refuse, write_hello};
use super::{LinkConfig, LinkError};
use crate::base::id::NodeId;
use crate::base::limits::HANDSHAKE_TIMEOUT;
use crate::drivers::link_age::{LinkAge, Side};
use crate::drivers::node::Node;
use crate::engine::InboundLink;
use crate::net::frame::{FrameError, Frames};
use crate::net::hello::Verdict;
use crate::net::identity;
use crate::replication::message::{self, Message};
use crate::replication::position::StreamId;

/// How many incoming links may be shaking hands at once; further ones wait in the kernel's backlog.
const HANDSHAKES_MAX: usize = 256;

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
                Err(reason @ LinkError::IdTaken(..)) => tracing::debug!(%from, %reason, "refused a link"),
                Err(LinkError::OtherDomain(peer)) => {
                    if config.notices.is_new(format!("{peer} is of another domain")) {
                        tracing::info!(%from, peer = %peer, "refused a link: it is of another domain");
                    }
                }
                Err(reason) => tracing::warn!(%from, %reason, "refused a link"),
                Ok((peer, on, frames, mut link_age, stays)) => {
                    let end = tokio::select! {
                        end = listen(&node, &peer, on, frames) => end,
                        over = link_age.over() => Err(over.into()),
                    };
                    match end {
                        Err(LinkError::Over(reason)) => {
                            tracing::info!(peer = %peer, %reason, "closed its link, to be made again");
                        }
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
    InboundLink,
    Frames<tokio::io::ReadHalf<Incoming>>,
    LinkAge,
    tokio::io::WriteHalf<Incoming>,
);

async fn greet(node: &Arc<Node>, config: &LinkConfig, tcp: TcpStream) -> Result<Greeted, LinkError> {
    prepare(&tcp).map_err(LinkError::Connect)?;
    let tls = config.tls.borrow().clone();
    let stream = TlsAcceptor::from(tls.server.clone())
        .accept(tcp)
        .await
        .map_err(LinkError::Handshake)?;
    let shown = stream.get_ref().1.peer_certificates();
    let certified = identity::of_cluster(shown, &config.cluster)?;
    let link_age = LinkAge::begin(Side::Accepted, config.tls.clone(), tls, shown);
    let (read, mut write) = tokio::io::split(stream);
    let mut frames = Frames::new(read);
    let hello = read_hello(&mut frames).await?;
    let peer = check_hello(&hello, &certified.node)?;
    let verdict = judge(node, config, &hello, &peer).await;
    let knows = node.with(|engine, _| engine.latest_incarnation(&peer));
    let stream = StreamId::new(hello.stream);
    write_hello(node, config, &mut write, knows, stream, verdict).await?;
    if verdict != Verdict::Welcome {
        return Err(refuse(node, &hello, &peer, verdict));
    }
    let on = node.with(|engine, _| engine.on_hello(&peer, stream, hello.addr));
    Ok((peer, on, frames, link_age, write))
}

/// Hears what `peer` says until it closes the connection.
async fn listen(
    node: &Arc<Node>,
    peer: &NodeId,
    on: InboundLink,
    mut frames: Frames<tokio::io::ReadHalf<Incoming>>,
) -> Result<(), LinkError> {
    let traffic = node.traffic.of(peer);
    while let Some(frame) = frames.next().await? {
        traffic.received.add(1, frame.len(), frames.wire_bytes());
        let message = message::decode(&frame)?;
        if let Message::Ack { stream, sequence, .. } = &message {
            traffic.acknowledged(*stream, *sequence, Instant::now());
        }
        if !node.receive(peer, on, message, &frame) {
            return Ok(()); // a later link took its place
        }
    }
    Ok(())
}
