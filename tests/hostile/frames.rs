//! Nonsense inside a proper link: a node of the cluster, certificate and all, that does not keep to the protocol.
//!
//! The bytes are written out by hand from docs/PROTOCOL.md, so that a change of the protocol is noticed here.

use std::time::Duration;

use limpet_tests::random::Random;
use limpet_tests::tls::{Identity, connect};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::unharmed::Peace;

/// How long the core may take to close a link that broke the rules.
const PATIENCE: Duration = Duration::from_secs(5);

/// The version of the hello, and that of messages.
const HELLO: u8 = 2;
const PROTOCOL: u8 = 3;

/// A length, then that many bytes.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a small frame");
    [&length.to_le_bytes()[..], body].concat()
}

/// Who is speaking: magic, version, node, no domain, its incarnation, an address on loopback, no one it
/// would know of the other side, the stream, and no verdict to give.
fn hello(node: &str, version: u8, stream: u8) -> Vec<u8> {
    let mut body = b"limpet".to_vec();
    body.push(version);
    body.push(u8::try_from(node.len()).expect("a short name"));
    body.extend_from_slice(node.as_bytes());
    body.push(0);
    body.push(253);
    body.extend_from_slice(&1_700_000_000_000_u64.to_le_bytes());
    body.extend_from_slice(&[0, 127, 0, 0, 1, 251]);
    body.extend_from_slice(&9_u16.to_le_bytes());
    body.extend_from_slice(&[0, stream, 0]);
    frame(&body)
}

async fn link(peace: &Peace) -> TlsStream<TcpStream> {
    let identity = Identity::issued(&peace.site.pki, "c");
    connect(&peace.a.node.cluster, &peace.site.pki, Some(&identity), &[&TLS13])
        .await
        .expect("c is let in")
}

/// Sends bytes and waits for the core to hang up.
async fn assert_closed(peace: &Peace, what: &str, bytes: &[u8], end: bool) {
    let mut stream = link(peace).await;
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    if end {
        let _ = stream.shutdown().await;
    }
    let closed = async {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    assert!(
        tokio::time::timeout(PATIENCE, closed).await.is_ok(),
        "{what}: the link stays open"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_breaks_the_protocol_loses_its_link_and_nothing_else() {
    let mut peace = Peace::new("frames").await;
    peace.site.pki.issue("c");
    let good = hello("c", HELLO, 0);
    let after = |bytes: &[u8]| [&good[..], bytes].concat();
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("no hello", frame(b"GET / HTTP/1.1\r\n\r\n"), &["hello"]),
        ("a hello of another version", hello("c", 99, 0), &["hello"]),
        ("a stream too many", hello("c", HELLO, 16), &["stream 16"]),
        (
            "a hello in another node's name",
            hello("b", HELLO, 0),
            &["calls itself b"],
        ),
        ("a frame of no bytes", after(&[0; 4]), &["frame", "0 bytes"]),
        ("a frame of 2 GiB", after(&[0xff; 8]), &["frame", "2147483647"]),
        ("an unknown version", after(&frame(&[99, 0, 0])), &["version 99"]),
        (
            "an unknown type",
            after(&frame(&[PROTOCOL, 0, 250, 0, 0])),
            &["variant 250"],
        ),
        (
            "a message cut short",
            after(&frame(&[PROTOCOL, 1])),
            &["ends inside a field"],
        ),
        (
            "a message of no kind",
            after(&frame(&[PROTOCOL, 250])),
            &["kind 250"],
        ),
        (
            "a list that claims 2^60 entries",
            after(&frame(&lying_list())),
            &["more than its length can hold"],
        ),
    ];
    for (what, bytes, words) in cases {
        let from = peace.a.process.log().len();
        assert_closed(&peace, what, bytes, false).await;
        peace.says(from, words).await;
    }
    let from = peace.a.process.log().len();
    assert_closed(&peace, "cut off inside a frame", &after(&[9, 0, 0, 0, 1]), true).await;
    peace.says(from, &["inside a frame"]).await;
    peace.still_holds().await;
}

/// A digest (type 4) whose list of buckets says it has 2^60 entries.
fn lying_list() -> Vec<u8> {
    [&[PROTOCOL, 0, 4, 253][..], &(1_u64 << 60).to_le_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_messages_of_a_node_harm_nothing() {
    let mut random = Random::announced("random messages");
    let mut peace = Peace::new("noise").await;
    peace.site.pki.issue("c");
    for _ in 0..100 {
        let mut stream = link(&peace).await;
        let mut bytes = hello("c", HELLO, 0);
        for _ in 0..8 {
            let length = random.number() as usize % 64;
            let mut body = vec![PROTOCOL, random.number() as u8 % 6, random.number() as u8 % 8];
            body.extend(random.bytes(length));
            bytes.extend(frame(&body));
        }
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut rest)).await;
    }
    peace.still_holds().await;
}
