//! Links this node makes to another one, on which it only speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::handshake::{check_hello, heed, judge, prepare, read_hello, refuse, write_hello};
use super::{BACKOFF_LEAST, BACKOFF_MOST, LASTED, LinkConfig, LinkError, Outcome};
use crate::base::backoff::Backoff;
use crate::base::id::NodeId;
use crate::base::limits::HANDSHAKE_TIMEOUT;
use crate::drivers::link_age::{LinkAge, Side};
use crate::drivers::node::{LinkSignal, Node};
use crate::engine::Peer;
use crate::membership::Identity;
use crate::net::compress::{Compression, FrameCompressor};
use crate::net::frame::{self, Frames};
use crate::net::hello::{Hello, Verdict};
use crate::net::identity;
use crate::net::tls::SERVER_NAME;
use crate::replication::message;
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For how long changes that nobody waits for are gathered after others were sent. A frame, its record and the system
/// calls at both ends cost as much as many changes.
const LINGER: Duration = Duration::from_millis(1);
/// How much of a buffer stays for the next messages.
const BUFFER_KEPT: usize = 1 << 20;
/// How long a process whose name another one claims may take to show that it is alive.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A link that was made, before anything but the hello was said on it.
struct Made {
    peer: NodeId,
    identity: Identity,
    frames: Frames<ReadHalf<TlsStream<TcpStream>>>,
    write: WriteHalf<TlsStream<TcpStream>>,
    link_age: LinkAge,
}

/// Makes the link of `stream` to `addr`, if either side has nothing against it.
async fn make(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    stream: StreamId,
) -> Result<Made, LinkError> {
    let (made, hello) = greet(node, config, addr, stream).await?;
    heed(node, &hello, &made.peer)?;
    let verdict = judge(node, config, &hello, &made.peer).await;
    if verdict != Verdict::Welcome {
        return Err(refuse(node, &hello, &made.peer, verdict));
    }
    if node.with(|engine, now| engine.outpace(hello.knows, now)) {
        return Err(LinkError::Outpaced);
    }
    Ok(made)
}

/// Whether the process that is `peer` at `addr` is alive: whether it answers in time, and not only its kernel.
pub(super) async fn is_there(node: &Arc<Node>, config: &LinkConfig, addr: SocketAddr, peer: &NodeId) -> bool {
    let greeted = tokio::time::timeout(ANSWER_TIMEOUT, greet(node, config, addr, CONTROL)).await;
    matches!(greeted, Ok(Ok((made, _))) if made.peer == *peer)
}

/// Connects to `addr` and exchanges hellos.
async fn greet(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    stream: StreamId,
) -> Result<(Made, Hello), LinkError> {
    let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(addr)).await;
    let tcp = connect
        .map_err(|_| LinkError::Timeout(CONNECT_TIMEOUT))?
        .map_err(LinkError::Connect)?;
    let shake = async {
        prepare(&tcp).map_err(LinkError::Connect)?;
        let tls = config.tls.borrow().clone();
        let name = ServerName::try_from(SERVER_NAME).map_err(|e| LinkError::Stranger(e.to_string()))?;
        let tls_stream = TlsConnector::from(tls.client.clone())
            .connect(name, tcp)
            .await
            .map_err(LinkError::Handshake)?;
        let shown = tls_stream.get_ref().1.peer_certificates();
        let certified = identity::of_cluster(shown, &config.cluster)?;
        let link_age = LinkAge::begin(Side::Made, config.tls.clone(), tls, shown);
        let (read, mut write) = tokio::io::split(tls_stream);
        write_hello(node, config, &mut write, 0, stream, Verdict::Welcome).await?;
        let mut frames = Frames::new(read);
        let hello = read_hello(&mut frames).await?;
        let peer = check_hello(&hello, &certified.node)?;
        let identity = Identity {
            node: hello.node.clone().into(),
            addr: hello.addr,
            incarnation: hello.incarnation,
        };
        let made = Made {
            peer,
            identity,
            frames,
            write,
            link_age,
        };
        Ok((made, hello))
    };
    tokio::time::timeout(HANDSHAKE_TIMEOUT, shake)
        .await
        .map_err(|_| LinkError::Timeout(HANDSHAKE_TIMEOUT))?
}

/// Makes the first link to `addr`, calls `up` once it is, and speaks on it, and on the other streams, until it ends.
pub(super) async fn keep_first(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    up: impl FnOnce(),
) -> Result<Outcome, LinkError> {
    let Made {
        peer,
        identity,
        mut frames,
        mut write,
        mut link_age,
    } = make(node, config, addr, CONTROL).await?;
    let registered = node.with(|engine, now| {
        let linked = engine.peers().get(&peer).is_some_and(Peer::is_linked);
        (!linked).then(|| {
            let registered = node.register_link(&peer, CONTROL);
            engine.link_up(&peer, identity, CONTROL, now);
            registered
        })
    });
    let Some(registered) = registered else {
        return Ok(Outcome::AlreadyLinked);
    };
    tracing::info!(peer = %peer, %addr, "link up");
    node.traffic.of(&peer).linked();
    up();
    let began = tokio::time::Instant::now();
    let mut others = JoinSet::new();
    for stream in StreamId::first(config.links.into()).skip(1) {
        let (node, config, peer) = (node.clone(), config.clone(), peer.clone());
        others.spawn(async move { keep_other(&node, &config, &peer, addr, stream).await });
    }
    let reason = tokio::select! {
        reason = speak(node, &peer, CONTROL, config.compression, &registered.signal, &mut frames, &mut write) => reason,
        over = link_age.over() => over.into(),
    };
    // None of them may take another message to send once the link is known to be down.
    others.shutdown().await;
    drop(registered);
    tracing::info!(peer = %peer, %addr, %reason, "link closed");
    node.with(|engine, now| engine.link_down(&peer, CONTROL, false, now));
    Ok(Outcome::Ended {
        lasted: began.elapsed() >= LASTED || matches!(reason, LinkError::Over(_)),
    })
}

/// Keeps the link of `stream` to `peer` until this is dropped, which is when the first link has ended.
async fn keep_other(
    node: &Arc<Node>,
    config: &LinkConfig,
    peer: &NodeId,
    addr: SocketAddr,
    stream: StreamId,
) {
    let mut backoff = Backoff::new(BACKOFF_LEAST, BACKOFF_MOST);
    loop {
        let began = tokio::time::Instant::now();
        let reason = match make(node, config, addr, stream).await {
            Ok(made) if made.peer == *peer => speak_on(node, config, made, stream).await,
            Ok(made) => LinkError::Stranger(format!("{} answers where {peer} did", made.peer)),
            Err(error) => error,
        };
        tracing::debug!(peer = %peer, %addr, %stream, %reason, "no link, or no longer");
        if matches!(reason, LinkError::Over(_)) {
            continue;
        }
        if began.elapsed() >= LASTED {
            backoff.reset();
        }
        tokio::time::sleep(backoff.step(rand::random())).await;
    }
}

/// Speaks on a link other than the first until it ends.
async fn speak_on(node: &Arc<Node>, config: &LinkConfig, mut made: Made, stream: StreamId) -> LinkError {
    let registered = node.with(|engine, now| {
        let registered = node.register_link(&made.peer, stream);
        engine.link_up(&made.peer, made.identity, stream, now);
        registered
    });
    let (frames, write) = (&mut made.frames, &mut made.write);
    let reason = tokio::select! {
        reason = speak(node, &made.peer, stream, config.compression, &registered.signal, frames, write) => reason,
        over = made.link_age.over() => over.into(),
    };
    drop(registered);
    node.with(|engine, now| engine.link_down(&made.peer, stream, false, now));
    reason
}

/// Sends what waits for `peer` on its stream until the connection ends. The peer says nothing on this link, so the reading side
/// only finds out, at once, when it closes.
async fn speak<R, W>(
    node: &Arc<Node>,
    peer: &NodeId,
    stream: StreamId,
    compression: Compression,
    signal: &LinkSignal,
    frames: &mut Frames<R>,
    write: &mut W,
) -> LinkError
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    tokio::select! {
        error = send_all(node, peer, stream, compression, signal, write) => LinkError::Ended(error.to_string()),
        result = frames.next() => match result {
            Ok(None) => LinkError::Ended("closed by the peer".into()),
            Ok(Some(_)) => LinkError::Stranger("the peer spoke on a link it only listens on".into()),
            Err(error) => error.into(),
        },
        () = signal.close.notified() => LinkError::Ended("closed by this node".into()),
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
    W: tokio::io::AsyncWrite + Unpin,
{
    let (mut buffer, mut changes) = (Vec::new(), Vec::new());
    let (mut shrink, traffic) = (FrameCompressor::new(compression), node.traffic.of(peer));
    loop {
        // Whatever is ready to run may have more to say; this costs no wait when nothing is.
        tokio::task::yield_now().await;
        let (messages, said) = node.with(|engine, _| {
            let messages = engine.next_messages(peer, stream);
            (messages, engine.next_changes(peer, stream, &mut changes))
        });
        if messages.is_empty() && said.is_none() {
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
                    tracing::error!(peer = %peer, %error, "a message was not sent");
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
        if let Some(said) = said {
            traffic.batch_sent(stream, said.sequence, Instant::now());
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
        if said.is_some_and(|said| !said.more) {
            let _ = tokio::time::timeout(LINGER, signal.wake.notified()).await; // over, or something is urgent
        }
    }
}
