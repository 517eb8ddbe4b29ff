//! Links other nodes make to this one, on which it only receives. They are accepted for as long as the node runs, and
//! listened to until they end; making them again is the other node's work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::LinkConfig;
use super::error::{LinkError, Misconfigured, NetworkError};
use super::handshake::{self, Inbound};
use crate::base::id::NodeId;
use crate::base::limits::HANDSHAKE_TIMEOUT;
use crate::drivers::node::Node;
use crate::engine::InboundLink;
use crate::net::frame::Frames;
use crate::replication::message::{self, Message};

/// How many incoming links may shake hands at once; further ones wait in the kernel's backlog.
const HANDSHAKES_MAX: usize = 256;
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts links until the node is gone.
pub async fn accept_all(node: Arc<Node>, config: LinkConfig, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(permit) = handshakes.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((tcp, from)) => {
                tokio::spawn(serve(node.clone(), config.clone(), tcp, from, permit));
            }
            Err(error) => {
                // Out of descriptors, most likely: others have to be closed first.
                tracing::error!(%error, "a link cannot be accepted; if descriptors ran out, raise their limit");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands on one connection, for which `permit` is held, and listens until it ends.
async fn serve(
    node: Arc<Node>,
    config: LinkConfig,
    tcp: TcpStream,
    from: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake::accept(&node, &config, tcp)).await;
    drop(permit);
    let Inbound {
        peer,
        link,
        frames,
        write,
        mut link_age,
    } = match accepted.unwrap_or(Err(NetworkError::Timeout(HANDSHAKE_TIMEOUT).into())) {
        Ok(inbound) => inbound,
        Err(error) => return log_refused(&config, from, &error),
    };
    let end = tokio::select! {
        end = receive(&node, &peer, link, frames) => end,
        over = link_age.over() => Err(over.into()),
    };
    match end {
        Ok(()) => tracing::debug!(%peer, "its link to this node closed"),
        Err(LinkError::Over(reason)) => tracing::info!(%peer, %reason, "closed its link, to be made again"),
        Err(LinkError::Network(reason)) => tracing::info!(%peer, %reason, "its link to this node broke"),
        Err(reason) => tracing::warn!(%peer, %from, %reason, "closed its link: it breaks the protocol"),
    }
    drop(write);
}

/// Says in the log why a link was refused, unless that was said lately.
fn log_refused(config: &LinkConfig, from: SocketAddr, reason: &LinkError) {
    match reason {
        // The engine says so, and what to do about it.
        LinkError::Misconfigured(Misconfigured::IdTaken { .. }) => {
            tracing::debug!(%from, %reason, "refused a link");
        }
        // The port of a connection another node made tells nobody anything: notices are by host.
        _ if !config
            .notices
            .is_new(reason.notice(&format!("from {}", from.ip()))) =>
        {
            tracing::debug!(%from, %reason, "refused a link");
        }
        LinkError::Misconfigured(Misconfigured::OtherDomain(_)) => {
            tracing::info!(%from, %reason, "refused a link");
        }
        _ => tracing::warn!(%from, %reason, "refused a link"),
    }
}

/// Hands what `peer` sends to the engine until it closes the connection, or the engine listens to a later one.
async fn receive<R: tokio::io::AsyncRead + Unpin>(
    node: &Arc<Node>,
    peer: &NodeId,
    link: InboundLink,
    mut frames: Frames<R>,
) -> Result<(), LinkError> {
    let traffic = node.traffic.of(peer);
    while let Some(frame) = frames.next().await? {
        traffic.received.add(1, frame.len(), frames.wire_bytes());
        let message = message::decode(&frame)?;
        if let Message::Ack { stream, sequence, .. } = &message {
            traffic.acknowledged(*stream, *sequence, Instant::now());
        }
        if !node.receive(peer, link, message, &frame) {
            return Ok(()); // a later link took its place
        }
    }
    Ok(())
}
