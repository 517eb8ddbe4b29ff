//! Multicast discovery: a node sends signed hints of where it listens to a multicast group, and follows those of others.
//!
//! A hint only tells an address to dial. Which hints are worth following is decided by the engine, dialling by the link
//! keeper, and who may join by the handshake.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;

use super::node::Node;
use crate::engine::Engine;
use crate::membership::{HINT_MAX, Hint, SignedHint};
use crate::net::hint_signature::HintSignature;
use crate::net::tls::Tls;

/// The shortest time a node listens before it takes silence for nobody there.
const LISTEN_FIRST: Duration = Duration::from_secs(2);
/// How many hints are verified in one [`VERIFY_INTERVAL`]; further ones are dropped unread, and come again.
const VERIFIED_MAX: u32 = 100;
/// See [`VERIFIED_MAX`].
const VERIFY_INTERVAL: Duration = Duration::from_secs(1);

/// Where and how often hints are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MulticastConfig {
    /// The group and its port.
    pub address: SocketAddrV4,
    /// The interface, by its address.
    pub interface: Ipv4Addr,
    /// How often a hint is sent.
    pub frequency: Duration,
    /// How many routers a hint passes.
    pub ttl: u32,
}

/// Opens a socket that receives what is sent to the group, and nothing else.
///
/// # Errors
/// When the interface or the group cannot be used.
pub fn open(config: &MulticastConfig) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // Several nodes of one machine listen to one group.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group, so that nothing else that is sent to the port arrives.
    socket.bind(&SocketAddr::V4(config.address).into())?;
    socket.join_multicast_v4(config.address.ip(), &config.interface)?;
    socket.set_multicast_if_v4(&config.interface)?;
    socket.set_multicast_ttl_v4(config.ttl)?;
    socket.set_multicast_loop_v4(true)?;
    UdpSocket::from_std(socket.into())
}

/// Sends hints and follows those of others until the node is gone.
pub async fn multicast(
    node: Arc<Node>,
    config: MulticastConfig,
    domain: String,
    tls: watch::Receiver<Tls>,
    socket: UdpSocket,
) {
    let began = tokio::time::Instant::now();
    let listen_first = LISTEN_FIRST.max(config.frequency * 4);
    let mut listened = false;
    let mut send = tokio::time::interval(config.frequency);
    send.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut budget = Budget::default();
    let mut buffer = vec![0; HINT_MAX + 1];
    let mut sending = Ok(());
    loop {
        tokio::select! {
            _ = send.tick() => {
                let result = send_hint(&node, &config, &domain, &tls, &socket).await;
                match (&sending, &result) {
                    (Ok(()), Err(error)) => tracing::warn!(group = %config.address, %error, "hints cannot be sent"),
                    (Err(_), Ok(())) => tracing::info!(group = %config.address, "hints are sent again"),
                    _ => {}
                }
                sending = result;
                if !listened && began.elapsed() >= listen_first {
                    listened = true;
                    node.with(Engine::hints_heard);
                }
            }
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, _)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    on_hint(&node, &domain, &tls, datagram, &mut budget);
                }
                Err(error) => {
                    tracing::warn!(group = %config.address, %error, "hints cannot be received");
                    tokio::time::sleep(config.frequency).await;
                }
            },
        }
    }
}

/// Sends one hint, unless the node is leaving.
async fn send_hint(
    node: &Arc<Node>,
    config: &MulticastConfig,
    domain: &str,
    tls: &watch::Receiver<Tls>,
    socket: &UdpSocket,
) -> std::io::Result<()> {
    let Some(hint) = node.with(|engine, now| engine.hint(domain, now)) else {
        return Ok(());
    };
    let hint_signer = tls.borrow().hint_signer.clone();
    let datagram = hint.encode().and_then(|body| {
        let HintSignature {
            certificate,
            scheme,
            signature,
        } = hint_signer.sign(&body)?;
        let signed = SignedHint {
            body,
            certificate,
            scheme,
            signature,
        };
        signed.encode()
    });
    let Some(datagram) = datagram else {
        return Err(std::io::Error::other(
            "the certificate is too long, or its key cannot sign",
        ));
    };
    socket.send_to(&datagram, config.address).await.map(|_| ())
}

/// Follows a hint if it leads anywhere new and proves genuine. The cheap checks come first.
fn on_hint(node: &Arc<Node>, domain: &str, tls: &watch::Receiver<Tls>, datagram: &[u8], budget: &mut Budget) {
    let Some(signed) = SignedHint::decode(datagram) else {
        return;
    };
    let Some(hint) = Hint::decode(&signed.body) else {
        return;
    };
    if !node.with(|engine, now| engine.is_hint_worth(&hint, domain, now)) || !budget.take() {
        return;
    }
    let signature = HintSignature {
        certificate: signed.certificate,
        scheme: signed.scheme,
        signature: signed.signature,
    };
    let hint_signer = tls.borrow().hint_signer.clone();
    let genuine = hint_signer
        .verify(&signed.body, &signature)
        .is_some_and(|who| who.cluster == hint.cluster && who.node == hint.node);
    if genuine {
        node.with(|engine, now| engine.follow_hint(&hint, now));
    } else {
        tracing::debug!(claims = hint.node, addr = %hint.addr, "ignored a hint that no node of this cluster signed");
    }
}

/// How many hints were verified in the interval that began at `since`.
#[derive(Debug)]
struct Budget {
    since: tokio::time::Instant,
    verified: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            since: tokio::time::Instant::now(),
            verified: 0,
        }
    }
}

impl Budget {
    /// Takes leave to verify one more.
    fn take(&mut self) -> bool {
        if self.since.elapsed() >= VERIFY_INTERVAL {
            *self = Self::default();
        }
        self.verified += 1;
        self.verified <= VERIFIED_MAX
    }
}
