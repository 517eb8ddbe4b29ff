//! The readers that keep nothing of what they read. What one of them takes for an encoding is encoded again, and has
//! to mean the same.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use limpet_core::config::Config;
use limpet_core::membership::{Hint, Identity, MemberMessage, SignedHint, Swim, SwimConfig};
use limpet_core::net::frame::Frames;
use limpet_core::net::hello::Hello;
use limpet_core::replication::message;
use limpet_wire::codec;
use limpet_wire::report::{Reply, Report};
use limpet_wire::table::WorkerTable;
use limpet_wire::token::{self, TokenKey};

/// Frames of a link, until it would be closed.
pub fn frames(bytes: &[u8]) {
    let mut frames = Frames::new(bytes);
    let mut total = 0;
    loop {
        let next = pin!(frames.next()).poll(&mut Context::from_waker(Waker::noop()));
        match next {
            Poll::Ready(Ok(Some(_))) => total += frames.wire_bytes(),
            Poll::Ready(Ok(None)) => return assert_eq!(total, bytes.len(), "bytes got lost"),
            Poll::Ready(Err(_)) => return,
            Poll::Pending => panic!("a slice is never waited for"),
        }
    }
}

/// The first frame of a link.
pub fn hello(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        let again = hello.encode().expect("what was read can be written");
        assert_eq!(Hello::decode(&again), Ok(hello));
    }
}

/// Any other frame.
pub fn message(bytes: &[u8]) {
    if let Ok(message) = message::decode(bytes) {
        let again = message::encode(&message).expect("what was read can be written");
        assert_eq!(message::decode(&again), Ok(message));
    }
}

/// What a message of membership holds.
pub fn word(bytes: &[u8]) {
    if let Some(word) = MemberMessage::decode(bytes) {
        assert_eq!(MemberMessage::decode(&word.encode()), Some(word));
    }
}

/// The identity of the member that hears in [`swim`].
#[must_use]
pub fn receiver() -> Identity {
    identity("a", 1, 1_700_000_000_000)
}

/// The identity of a member.
#[must_use]
pub fn identity(node: &str, host: u8, incarnation: u64) -> Identity {
    Identity {
        node: node.into(),
        addr: ([10, 0, 0, host], 4000).into(),
        incarnation,
    }
}

/// How fast members are missed here.
#[must_use]
pub fn swim_config() -> SwimConfig {
    SwimConfig {
        probe_interval: Duration::from_millis(500),
        drop_time: Duration::from_secs(3),
    }
}

/// What the failure detector is told.
pub fn swim(bytes: &[u8]) {
    let mut swim = Swim::new(receiver(), swim_config(), 7);
    swim.meet(identity("b", 2, 1_700_000_000_001));
    for _ in 0..2 {
        swim.on_message(bytes);
    }
    assert_eq!(swim.identity().node, "a".into());
}

/// A datagram of somebody who says where it is.
pub fn hint(bytes: &[u8]) {
    if let Some(signed) = SignedHint::decode(bytes) {
        if let Some(hint) = Hint::decode(&signed.body) {
            assert_eq!(
                Hint::decode(&hint.encode().expect("names were short")),
                Some(hint)
            );
        }
        let again = signed.clone().encode().expect("it was short enough");
        assert_eq!(SignedHint::decode(&again), Some(signed));
    }
}

/// What a filter reports, and what it is answered.
pub fn report(bytes: &[u8]) {
    if let Ok(report) = codec::decode::<Report>(bytes) {
        let again = codec::encode(&report).expect("what was read can be written");
        assert_eq!(codec::decode(&again), Ok(report));
    }
    let _ = codec::decode::<Reply>(bytes);
}

/// What a filter or a proxy is told of workers.
pub fn table(bytes: &[u8]) {
    if let Ok(table) = codec::decode::<WorkerTable>(bytes) {
        let again = codec::encode(&table).expect("what was read can be written");
        assert_eq!(codec::decode(&again), Ok(table));
    }
}

/// The key tokens are sealed with here.
#[must_use]
pub fn token_key() -> TokenKey {
    TokenKey {
        id: 1,
        secret: [7; 32],
    }
}

/// The cookie of a client.
pub fn token(bytes: &[u8]) {
    let _ = token::open(bytes, "shop", &[token_key()]);
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        // It names files, and reads them: there are none in this folder.
        let _ = Config::parse(text, Path::new("/nonexistent"));
    }
}
