//! Links other nodes make to this one, on which it only receives. They are accepted for as long as the node runs, and
//! listened to until they end; making them again is the other node's work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use super::LinkConfig;
use super::error::{LinkError, Misconfigured, NetworkError};
use super::handshake::{self, Inbound};
use super::handshakes::{Handshakes, Spoke};
use crate::base::id::NodeId;
use crate::base::limits::HANDSHAKE_TIMEOUT;
use crate::drivers::node::Node;
use crate::engine::InboundLink;
use crate::net::frame::Frames;
use crate::replication::message::{self, Message};

/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The notice that too many connections shake hands.
const CROWDED: &str = "more connections are made than shake hands";

/// Accepts links until the node is gone.
pub async fn accept_all(node: Arc<Node>, config: LinkConfig, listener: TcpListener) {
    let mut handshakes = Handshakes::default();
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => {
                let spoke = Spoke::default();
                let task = tokio::spawn(greet(node.clone(), config.clone(), tcp, from, spoke.clone()));
                if handshakes.add(task.abort_handle(), spoke) && config.notices.is_new(CROWDED.to_owned()) {
                    tracing::warn!(%from, "{CROWDED}; the oldest that have sent nothing are closed");
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: others have to be closed first.
                tracing::error!(%error, "a link cannot be accepted; if descriptors ran out, raise their limit");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Shakes hands on one connection. What follows is a task of its own, which no newcomer ends.
async fn greet(node: Arc<Node>, config: LinkConfig, tcp: TcpStream, from: SocketAddr, spoke: Spoke) {
    let accepted = async {
        tcp.readable().await.map_err(NetworkError::Broken)?;
        spoke.note();
        handshake::accept(&node, &config, tcp).await
    };
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepted).await;
    match accepted.unwrap_or(Err(NetworkError::Timeout(HANDSHAKE_TIMEOUT).into())) {
        Ok(inbound) => drop(tokio::spawn(serve(node, inbound, from))),
        Err(error) => log_refused(&config, from, &error),
    }
}

/// Listens to a link until it ends.
async fn serve(node: Arc<Node>, inbound: Inbound, from: SocketAddr) {
    let Inbound {
        peer,
        link,
        frames,
        write,
        mut link_age,
    } = inbound;
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
