//! Hints: datagrams in which a node tells a multicast group where it listens, so that others know whom to dial.
//!
//! This is their encoding, and the rules by which a hint is worth following. Sockets, signatures and budgets belong to
//! [`crate::drivers::discovery`]. Who may join is decided by the handshake of a link.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The largest hint, its certificate and signature included. A longer one is not read.
pub const HINT_MAX: usize = 8 << 10;
/// How long an address that a hint led to is not dialled again because of hints.
const DIAL_PAUSE: Duration = Duration::from_secs(5);
/// How many addresses are remembered as dialled because of hints. Past it none is dialled until one is forgotten.
const DIALLED_MAX: usize = 256;

const MAGIC: [u8; 12] = *b"limpet hint\x01";
type Config = Configuration<LittleEndian, Varint, Limit<HINT_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<HINT_MAX>();

/// Where a node listens, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hint {
    /// Its cluster.
    pub cluster: String,
    /// Its domain; empty for none.
    pub domain: String,
    /// Its name.
    pub node: String,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// When it was sent, by its wall clock, in milliseconds since 1970.
    pub sent_ms: u64,
}

/// A hint with the certificate of its sender, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHint {
    /// The encoded hint, as it was signed.
    pub body: Vec<u8>,
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// The TLS signature scheme, by its number.
    pub scheme: u16,
    /// The signature of `body`.
    pub signature: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Encoded {
    magic: [u8; 12],
    body: Vec<u8>,
    certificate: Vec<u8>,
    scheme: u16,
    signature: Vec<u8>,
}

impl Hint {
    /// The bytes that are signed. They begin like nothing else a node signs. `None` when they would be longer than
    /// [`HINT_MAX`].
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        bincode::encode_to_vec((MAGIC, self), CONFIG).ok()
    }

    /// Reads bytes that were signed; `None` for anything but a hint.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let ((magic, hint), read): (([u8; 12], Self), usize) =
            bincode::decode_from_slice(body, CONFIG).ok()?;
        (magic == MAGIC && read == body.len()).then_some(hint)
    }
}

impl SignedHint {
    /// The datagram. `None` when it would be longer than [`HINT_MAX`].
    #[must_use]
    pub fn encode(self) -> Option<Vec<u8>> {
        let encoded = Encoded {
            magic: MAGIC,
            body: self.body,
            certificate: self.certificate,
            scheme: self.scheme,
            signature: self.signature,
        };
        let bytes = bincode::encode_to_vec(encoded, CONFIG).ok()?;
        (bytes.len() <= HINT_MAX).then_some(bytes)
    }

    /// Reads a datagram; `None` for anything but a signed hint.
    #[must_use]
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let (encoded, read): (Encoded, usize) = bincode::decode_from_slice(datagram, CONFIG).ok()?;
        (encoded.magic == MAGIC && read == datagram.len()).then_some(Self {
            body: encoded.body,
            certificate: encoded.certificate,
            scheme: encoded.scheme,
            signature: encoded.signature,
        })
    }
}

/// What a node knows when it receives a hint.
#[derive(Debug, Clone)]
pub struct Listener<'a> {
    /// Its cluster.
    pub cluster: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Where it is itself.
    pub addr: SocketAddr,
    /// Its wall clock.
    pub wall_ms: u64,
    /// How far the sender's clock may be from it.
    pub max_skew: Duration,
}

/// Addresses that hints led to.
#[derive(Debug, Default)]
pub struct Dialled {
    at: BTreeMap<SocketAddr, Duration>,
}

impl Dialled {
    /// Whether `hint`, should its signature prove genuine, leads to an address worth dialling. `known` says whether
    /// an address is a member's already. Nothing is remembered: forged hints must not keep genuine ones from being
    /// followed.
    #[must_use]
    pub fn is_worth(
        &self,
        hint: &Hint,
        listener: &Listener<'_>,
        known: impl Fn(SocketAddr) -> bool,
        now: Duration,
    ) -> bool {
        let fresh = u128::from(hint.sent_ms.abs_diff(listener.wall_ms)) <= listener.max_skew.as_millis();
        let ours = hint.cluster == listener.cluster && hint.domain == listener.domain;
        let ip = hint.addr.ip();
        let possible = !ip.is_unspecified() && !ip.is_multicast() && hint.addr.port() != 0;
        fresh
            && ours
            && possible
            && hint.addr != listener.addr
            && !known(hint.addr)
            && !self.is_recent(hint.addr, now)
    }

    /// A genuine hint leads to `addr`. Says whether it is to be dialled, and remembers it if so.
    pub fn follow(&mut self, addr: SocketAddr, now: Duration) -> bool {
        self.at.retain(|_, at| now.saturating_sub(*at) < DIAL_PAUSE);
        if self.is_recent(addr, now) || self.at.len() >= DIALLED_MAX {
            return false;
        }
        self.at.insert(addr, now);
        true
    }

    fn is_recent(&self, addr: SocketAddr, now: Duration) -> bool {
        self.at
            .get(&addr)
            .is_some_and(|at| now.saturating_sub(*at) < DIAL_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint() -> Hint {
        Hint {
            cluster: "shop".into(),
            domain: "d".into(),
            node: "b".into(),
            addr: "10.0.0.2:4000".parse().unwrap(),
            sent_ms: 1_000_000,
        }
    }

    fn worth(hint: &Hint) -> bool {
        let listener = Listener {
            cluster: "shop",
            domain: "d",
            addr: "10.0.0.1:4000".parse().unwrap(),
            wall_ms: 1_030_000,
            max_skew: Duration::from_secs(60),
        };
        let known = |addr| addr == "10.0.0.3:4000".parse().unwrap();
        Dialled::default().is_worth(hint, &listener, known, Duration::ZERO)
    }

    #[test]
    fn only_fresh_hints_of_ones_own_to_new_addresses_are_worth_anything() {
        let at = |addr: &str| Hint {
            addr: addr.parse().unwrap(),
            ..hint()
        };
        assert!(worth(&hint()));
        for (why, hint) in [
            ("itself", at("10.0.0.1:4000")),
            ("known", at("10.0.0.3:4000")),
            ("nowhere", at("0.0.0.0:4000")),
            ("everywhere", at("228.0.0.4:4000")),
            ("no port", at("10.0.0.2:0")),
        ] {
            assert!(!worth(&hint), "{why}");
        }
        for (cluster, domain, sent_ms) in [
            ("bank", "d", 1_000_000),
            ("shop", "e", 1_000_000),
            ("shop", "d", 969_999),
            ("shop", "d", 1_090_001),
        ] {
            let hint = Hint {
                cluster: cluster.into(),
                domain: domain.into(),
                sent_ms,
                ..hint()
            };
            assert!(!worth(&hint), "{hint:?}");
        }
    }

    #[test]
    fn an_address_is_dialled_once_in_a_while_and_only_so_many_are() {
        let mut dialled = Dialled::default();
        let (addr, now) = (hint().addr, Duration::from_secs(100));
        assert!(dialled.follow(addr, now));
        assert!(!dialled.follow(addr, now + DIAL_PAUSE / 2));
        assert!(dialled.follow(addr, now + DIAL_PAUSE));
        let now = now + 2 * DIAL_PAUSE;
        let many = (1..1000u16).map(|port| SocketAddr::new(addr.ip(), port));
        assert_eq!(
            many.filter(|addr| dialled.follow(*addr, now)).count(),
            DIALLED_MAX
        );
        assert!(dialled.follow(addr, now + DIAL_PAUSE), "and then others");
    }

    #[test]
    fn hints_come_back_as_they_were_and_anything_else_is_none() {
        let body = hint().encode().unwrap();
        assert_eq!(Hint::decode(&body), Some(hint()));
        let signed = SignedHint {
            body,
            certificate: vec![1; 600],
            scheme: 0x0403,
            signature: vec![2; 70],
        };
        let datagram = signed.clone().encode().unwrap();
        assert_eq!(SignedHint::decode(&datagram), Some(signed.clone()));
        for cut in 0..datagram.len() {
            assert_eq!(SignedHint::decode(&datagram[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Hint::decode(&datagram), None);
        let huge = SignedHint {
            certificate: vec![1; HINT_MAX],
            ..signed
        };
        assert_eq!(huge.encode(), None);
    }
}
