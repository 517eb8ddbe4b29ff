//! Strangers at the cluster port: refused, with the reason in the log.

use std::time::Duration;

use limpet_tests::pki::Pki;
use limpet_tests::scratch::Scratch;
use limpet_tests::tls::{Identity, Reception, reception};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::unharmed::Peace;

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_with_a_reason() {
    let mut peace = Peace::new("strangers").await;
    let addr = peace.a.node.cluster.clone();
    let pki = peace.site.pki.clone();
    let elsewhere = Scratch::new("elsewhere");
    let other_ca = Pki::init(elsewhere.path(), "strangers");
    other_ca.issue("c");
    let years = (2020, 2120);

    let cases = [
        ("no certificate", None, vec!["certificate"]),
        (
            "another CA",
            Some(Identity::issued(&other_ca, "c")),
            vec!["certificate"],
        ),
        (
            "another cluster",
            Some(Identity::signed(&pki, "limpet://bank/node/c", years)),
            vec!["bank"],
        ),
        (
            "expired",
            Some(Identity::signed(&pki, "limpet://strangers/node/c", (2020, 2021))),
            vec!["expired"],
        ),
        (
            "no identity",
            Some(Identity::signed(&pki, "https://strangers/c", years)),
            vec!["names no node"],
        ),
    ];
    for (what, identity, words) in cases {
        let from = peace.a.process.log().len();
        let reception = reception(&addr, &pki, identity.as_ref(), &[&TLS13], PATIENCE).await;
        assert!(matches!(reception, Reception::Refused(_)), "{what}: let in");
        peace.says(from, &words).await;
    }
    peace.still_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_the_cluster_is_let_in_by_tls_13_only() {
    let mut peace = Peace::new("friend").await;
    let addr = peace.a.node.cluster.clone();
    peace.site.pki.issue("c");
    let identity = Identity::issued(&peace.site.pki, "c");
    let pause = Duration::from_millis(500);
    let friend = reception(&addr, &peace.site.pki, Some(&identity), &[&TLS13], pause).await;
    assert_eq!(
        friend,
        Reception::Open,
        "so the refusals of the other test are for their stated reasons"
    );
    let old = reception(&addr, &peace.site.pki, Some(&identity), &[&TLS12], PATIENCE).await;
    assert!(matches!(old, Reception::Refused(_)), "TLS 1.2: let in");
    peace.still_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_tls_at_all_is_closed() {
    let mut peace = Peace::new("plain").await;
    // Both of the first kind have one reason, which the log gives once.
    let from = peace.a.process.log().len();
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        &[0; 4096],
        b"\x16\x03\x01\xff\xff\x01",
    ] {
        let mut stream = TcpStream::connect(&peace.a.node.cluster)
            .await
            .expect("the port is open");
        stream.write_all(bytes).await.expect("it takes some bytes");
        stream.shutdown().await.expect("and their end");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "{bytes:.10?}: left open");
        peace.says(from, &["127.0.0.1"]).await;
    }
    peace.still_holds().await;
}
