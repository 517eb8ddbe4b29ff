//! Links this node makes to another one, on which it only sends. Each is one attempt of the link keeper: it connects,
//! is admitted, sends what waits until the connection ends, and says how it ended. Whether and when the next attempt is
//! made is the keeper's decision.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::LinkConfig;
use super::admission;
use super::error::{LinkError, NetworkError, PeerMisbehaved};
use super::handshake::{self, Outbound};
use super::keeper::{Dial, Outcome};
use crate::base::id::NodeId;
use crate::drivers::node::{LinkSignal, Node, Registered};
use crate::net::compress::{Compression, FrameCompressor};
use crate::net::frame::{self, Frames};
use crate::replication::message;
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

/// For how long changes that nobody waits for are gathered after others were sent. A frame, its record and the system
/// calls at both ends cost as much as many changes.
const LINGER: Duration = Duration::from_millis(1);
/// How much of a buffer stays for the next messages.
const BUFFER_KEPT: usize = 1 << 20;

/// Makes the link of `dial`, calls `up` with its peer once it is up, and sends on it until it ends.
pub(super) async fn attempt(
    node: &Arc<Node>,
    config: &LinkConfig,
    dial: &Dial,
    up: impl FnOnce(&NodeId),
) -> Outcome {
    let (mut outbound, registered) = match make(node, config, dial).await {
        Ok(made) => made,
        Err(error) => {
            config.log_no_link(dial, &error);
            return error.outcome();
        }
    };
    let peer = outbound.peer.clone();
    let first = dial.stream == CONTROL;
    if first {
        tracing::info!(%peer, addr = %dial.addr, "link up");
        node.traffic.of(&peer).linked();
    }
    up(&peer);
    let (frames, write) = (&mut outbound.frames, &mut outbound.write);
    let reason = tokio::select! {
        reason = serve(node, &peer, dial.stream, config.compression, &registered.signal, frames, write) => reason,
        over = outbound.link_age.over() => over.into(),
    };
    if first {
        tracing::info!(%peer, addr = %dial.addr, %reason, "link closed");
    } else {
        tracing::debug!(%peer, addr = %dial.addr, stream = %dial.stream, %reason, "stream closed");
    }
    Outcome::Closed {
        renew: matches!(reason, LinkError::Over(_)),
    }
}

/// Makes the link of `dial`, if neither end has anything against it, and tells the engine that it is up.
async fn make(
    node: &Arc<Node>,
    config: &LinkConfig,
    dial: &Dial,
) -> Result<(Outbound, Registered), LinkError> {
    let outbound = handshake::connect(node, config, dial.addr, dial.stream).await?;
    let Outbound { peer, hello, .. } = &outbound;
    node.with(|engine, now| admission::heed(engine, dial, hello, peer, now))?;
    let verdict = handshake::judge(node, config, hello, peer).await;
    let registered = node.with(|engine, now| {
        admission::enforce(engine, hello, peer, verdict, now)?;
        admission::link_up(engine, dial, hello, peer, now)?;
        // Before the engine's outputs are carried out, which may wake the link's writer.
        Ok::<_, LinkError>(node.register_link(peer, dial.stream))
    })?;
    Ok((outbound, registered))
}

/// Sends what waits for `peer` on the stream until the connection ends. The peer sends nothing on this link, so the
/// reading side only finds out, at once, when it closes.
async fn serve<R, W>(
    node: &Arc<Node>,
    peer: &NodeId,
    stream: StreamId,
    compression: Compression,
    signal: &LinkSignal,
    frames: &mut Frames<R>,
    write: &mut W,
) -> LinkError
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    tokio::select! {
        error = send_all(node, peer, stream, compression, signal, write) => LinkError::tls(error),
        result = frames.next() => match result {
            Ok(None) => NetworkError::ClosedByPeer.into(),
            Ok(Some(_)) => PeerMisbehaved::SpokeOutOfTurn.into(),
            Err(error) => error.into(),
        },
        () = signal.close.notified() => NetworkError::ClosedHere.into(),
    }
}

/// Sends what waits for `peer` as it comes; returns why no more can be sent.
async fn send_all<W>(
    node: &Arc<Node>,
    peer: &NodeId,
    stream: StreamId,
    compression: Compression,
    signal: &LinkSignal,
    write: &mut W,
) -> std::io::Error
where
    W: AsyncWrite + Unpin,
{
    let (mut buffer, mut changes) = (Vec::new(), Vec::new());
    let (mut shrink, traffic) = (FrameCompressor::new(compression), node.traffic.of(peer));
    loop {
        // Whatever is ready to run may have more to send; this costs no wait when nothing is.
        tokio::task::yield_now().await;
        let (messages, batch) = node.with(|engine, _| {
            let messages = engine.next_messages(peer, stream);
            (messages, engine.next_changes(peer, stream, &mut changes))
        });
        if messages.is_empty() && batch.is_none() {
            tokio::select! {
                () = signal.wake.notified() => {}
                () = signal.changes.notified() => {}
            }
            continue;
        }
        let (mut count, mut bytes) = (messages.len(), 0);
        for message in messages {
            let frame = frame::begin(&mut buffer);
            match message::encode_into(&message, &mut buffer) {
                Ok(()) => bytes += frame.end(&mut shrink, &mut buffer),
                Err(error) => {
                    frame.undo(&mut buffer);
                    count -= 1;
                    tracing::error!(%peer, %error, "a message was not sent");
                }
            }
        }
        if !changes.is_empty() {
            let frame = frame::begin(&mut buffer);
            buffer.append(&mut changes);
            bytes += frame.end(&mut shrink, &mut buffer);
            count += 1;
        }
        traffic.sent.add(count, bytes, buffer.len());
        if let Some(batch) = batch {
            traffic.batch_sent(stream, batch.sequence, Instant::now());
        }
        if let Err(error) = write.write_all(&buffer).await {
            return error;
        }
        if let Err(error) = write.flush().await {
            return error;
        }
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT);
        changes.shrink_to(BUFFER_KEPT);
        if batch.is_some_and(|batch| !batch.more) {
            let _ = tokio::time::timeout(LINGER, signal.wake.notified()).await; // over, or something is urgent
        }
    }
}
