//! HTTP/1.1 towards clients and workers: framing, hop-by-hop fields, streaming, timeouts, stopping.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::host::{Host, until};
use crate::worker::Worker;

#[test]
fn both_sides_are_kept_alive() {
    let worker = Worker::start("a");
    let host = Host::with(&[worker.addr], "server = { threads = 1 }", &[]);
    let mut client = host.client();
    for n in 0..20 {
        let answer = client.get(&format!("/{n}?q"), "");
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("a /{n}?q").as_str())
        );
    }
    assert_eq!(client.get("/chunks", "").body.len(), 5 * "piece n;".len());
    assert_eq!(client.get("/empty", "").status, 204);
    assert_eq!(client.post("/echo", "", "x").text(), "a:1:x");
    assert_eq!(worker.seen.requests(), 23);
    assert_eq!(worker.seen.connections(), 1);
    assert_eq!(host.running.count(|counters| counters.connections.get()), 1);
}

#[test]
fn hop_by_hop_fields_end_here() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    client.get(
        "/",
        "connection: x-one, keep-alive\r\nconnection: x-two\r\nx-one: 1\r\nx-two: 2\r\nx-three: 3\r\n",
    );
    for gone in [
        "connection",
        "x-one",
        "x-two",
        "keep-alive",
        "x-limpet-destination",
    ] {
        assert!(worker.seen.header(gone).is_empty(), "{gone}");
    }
    assert_eq!(worker.seen.header("x-three"), ["3"]);
    assert_eq!(worker.seen.header("host"), ["shop"]);
    assert_eq!(
        worker.seen.header("x-forwarded-for"),
        [client.local().ip().to_string()]
    );
    assert_eq!(worker.seen.header("x-forwarded-proto"), ["http"]);
    let answer = client.get("/hops", "");
    assert_eq!(
        (answer.header("x-hop"), answer.header("keep-alive")),
        (None, None)
    );
    assert_eq!(answer.header("x-end"), Some("1"));
}

#[test]
fn bodies_stream_both_ways() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    let big = "x".repeat(3 << 20);
    let answer = client.post("/echo", "", &big);
    assert_eq!(answer.body.len(), big.len() + "a:3145728:".len());
    // A chunked request, its end long after its beginning.
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    std::thread::sleep(Duration::from_millis(50));
    client.send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.read().text(), "a:5:abcde");
    // The first piece of an answer comes long before its last one.
    client.send("GET /chunks HTTP/1.1\r\nhost: a\r\n\r\n");
    let started = Instant::now();
    let (status, _) = client.read_head();
    let first = client.line_until(";");
    let waited = started.elapsed();
    assert_eq!(status, 200);
    assert!(first.contains("piece 0;"), "{first}");
    client.line_until("piece 4;");
    assert!(
        started.elapsed() - waited > Duration::from_millis(100),
        "it was held back"
    );
}

#[test]
fn answers_without_a_body() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    assert_eq!(client.get("/empty", "").status, 204);
    client.send("HEAD /head HTTP/1.1\r\nhost: a\r\n\r\n");
    let (status, headers) = client.read_head();
    assert_eq!(status, 200);
    assert!(
        headers.contains(&("content-length".into(), "7".into())),
        "{headers:?}"
    );
    assert_eq!(client.get("/after", "").text(), "a /after");
}

#[test]
fn expect_100_continue_is_answered_here() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.read().status, 100);
    client.send("hi");
    assert_eq!(client.read().text(), "a:2:hi");
    assert!(worker.seen.header("expect").is_empty());
}

#[test]
fn rfc9112_requests_that_could_be_read_in_two_ways_are_refused() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let bad = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "CONNECT b:80 HTTP/1.1\r\nhost: b:80\r\n\r\n",
    ];
    for request in bad {
        let mut client = host.client();
        client.send(request);
        assert_eq!(client.read_head().0, 400, "{request:?}");
    }
    assert_eq!(worker.seen.requests(), 0);
}

#[test]
fn rfc9112_6_3_a_length_beside_a_transfer_coding_never_reaches_a_worker() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    for lines in [
        "content-length: 1\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 1",
    ] {
        let mut client = host.client();
        client.send(&format!(
            "POST /echo HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        assert_eq!(client.read().text(), "a:3:abc");
        assert!(worker.seen.header("content-length").is_empty());
    }
}

#[test]
fn http_1_0_is_answered_in_kind() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.read().text(), "a /old");
    assert_eq!(
        worker.seen.header("host"),
        [host.running.addresses()[0].to_string()]
    );
    assert!(client.ends());
    // An answer in pieces has no length, and an old client knows no chunks: the end is the end.
    let mut client = host.client();
    client.send("GET /chunks HTTP/1.0\r\nhost: a\r\n\r\n");
    let (_, headers) = client.read_head();
    assert!(
        !headers.iter().any(|(name, _)| name == "transfer-encoding"),
        "{headers:?}"
    );
    client.line_until("piece 4;");
    assert!(client.ends());
}

#[test]
fn large_heads() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let cookies: Vec<_> = (0..200).map(|n| format!("name{n}=value{n}")).collect();
    let cookies = cookies.join("; ");
    assert_eq!(
        host.client().get("/", &format!("cookie: {cookies}\r\n")).status,
        200
    );
    assert_eq!(worker.seen.header("cookie"), [cookies]);
    let large = "x".repeat(64 << 10);
    assert_eq!(
        host.client().get("/", &format!("x-large: {large}\r\n")).status,
        431
    );
    assert_eq!(
        host.client()
            .get("/", &format!("x-large: {}\r\n", &large[..50 << 10]))
            .status,
        200
    );
}

#[test]
fn a_tunnel_after_101() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    client.send("GET /websocket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n");
    let (status, headers) = client.read_head();
    assert_eq!(status, 101);
    assert!(
        headers.contains(&("upgrade".into(), "echo".into())),
        "{headers:?}"
    );
    for text in ["one", "two"] {
        client.send(text);
        assert_eq!(client.take(3), text.as_bytes());
    }
}

#[test]
fn a_client_that_leaves_cancels_the_worker() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let mut client = host.client();
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the request arrives", || worker.seen.requests() == 1);
    drop(client);
    until("the worker is told", || {
        worker.seen.cancelled.load(std::sync::atomic::Ordering::SeqCst) == 1
    });
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let worker = Worker::start("a");
    let host = Host::with(
        &[worker.addr],
        "server = { threads = 1, header_timeout = \"600ms\", idle_timeout = \"700ms\" }",
        &[],
    );
    let mut silent = host.client();
    assert!(silent.ends());
    let mut slow = host.client();
    slow.send("GET / HT");
    assert!(slow.ends());
    let mut idle = host.client();
    assert_eq!(idle.get("/", "").status, 200);
    assert!(idle.ends());
}

#[test]
fn a_worker_that_says_nothing_is_504() {
    let worker = Worker::start("a");
    let text = format!(
        "listener = [{{ bind = \"127.0.0.1:0\" }}]\nroute = [{{ prefix = \"/\", cluster = \"a\" }}]\n\
         cluster = [{{ name = \"a\", response_timeout = \"600ms\", workers = [{{ route = \"a\", url = \"http://{}\" }}] }}]",
        worker.addr
    );
    let host = Host::of(&text, &[]);
    let mut client = host.client();
    assert_eq!(client.get("/slow", "").status, 504);
    assert_eq!(
        client.get("/pause", "").status,
        200,
        "half a second is no silence yet"
    );
    // A body that keeps coming is not silent, however long it takes.
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(300));
        client.send("x");
    }
    assert_eq!(client.read().text(), "a:5:xxxxx");
}

#[test]
fn nothing_is_served_under_an_unknown_path() {
    let worker = Worker::start("a");
    let host = Host::with(&[worker.addr], "", &[]);
    // The route is "/": only "*" is not under it.
    let mut client = host.client();
    client.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read().status, 404);
}

#[test]
fn stopping_finishes_what_is_open() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    let address = host.running.addresses()[0];
    let mut idle = host.client();
    assert_eq!(idle.get("/", "").status, 200);
    let mut busy = host.client();
    busy.send("GET /pause HTTP/1.1\r\nhost: a\r\n\r\n");
    until("the request arrives", || worker.seen.requests() == 2);
    let stopping = std::thread::spawn(move || host.running.stop());
    assert!(idle.ends());
    assert_eq!(busy.read().text(), "a /pause");
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn admin_pages() {
    let worker = Worker::start("a");
    let host = Host::start(&[&worker]);
    host.client().get("/", "");
    assert_eq!(host.admin("/healthz"), "ok\n");
    assert_eq!(host.admin("/readyz"), "ready\n");
    let page = host.admin("/metrics");
    assert!(page.contains("\nlimpet_host_requests_total 1\n"), "{page}");
    assert!(
        page.contains("\nlimpet_host_responses_total{class=\"2xx\"} 1\n"),
        "{page}"
    );
    let mut client = Client::connect(host.running.admin_address().unwrap());
    assert_eq!(client.get("/else", "").status, 404);
}
