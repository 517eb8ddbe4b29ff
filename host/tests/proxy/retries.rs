//! Retries: which requests are tried again, at which worker, and which are not.

use crate::guest;
use crate::host::{Host, nobody, until};
use crate::worker::Worker;

const FILTER: &str = "filter = [{ module = \"test_filter.wasm\" }]\nserver = { threads = 1 }";

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let worker = Worker::start("a");
    let host = Host::with(
        &[nobody(), worker.addr, nobody()],
        "server = { threads = 1 }",
        &[],
    );
    let mut client = host.client();
    for _ in 0..6 {
        assert_eq!(client.get("/", "").text(), "a /");
        assert_eq!(client.post("/echo", "", "body").text(), "a:4:body");
    }
    assert_eq!(worker.seen.requests(), 12);
    let refused = host.running.count(|counters| counters.connect_failures.get());
    assert!(
        refused < 12,
        "a worker that refused is spared for a while, and {refused} connections were refused"
    );
}

#[test]
fn nobody_there_is_503() {
    let host = Host::with(&[nobody(), nobody()], "", &[]);
    let answer = host.client().get("/", "");
    assert_eq!(answer.status, 503);
    assert_eq!(host.running.count(|counters| counters.attempts.get()), 2);
}

#[test]
fn a_reset_get_is_tried_again_and_a_post_is_not() {
    let (a, b) = (Worker::start("a"), Worker::start("b"));
    let host = Host::with(&[a.addr, b.addr], "server = { threads = 1 }", &[]);
    assert_eq!(host.client().get("/reset", "").status, 502);
    assert_eq!(
        (a.seen.requests(), b.seen.requests()),
        (1, 1),
        "once at each worker"
    );
    assert_eq!(host.client().post("/reset", "", "x").status, 502);
    assert_eq!(a.seen.requests() + b.seen.requests(), 3, "sent once");
    assert_eq!(host.client().post("/reset", "", "").status, 502);
    assert_eq!(
        a.seen.requests() + b.seen.requests(),
        4,
        "a POST may have done something even without a body"
    );
}

#[test]
fn a_stale_connection_costs_nothing() {
    let worker = Worker::start("a");
    let addr = worker.addr;
    let host = Host::with(&[addr], "server = { threads = 1 }", &[]);
    let mut client = host.client();
    assert_eq!(client.get("/", "").status, 200);
    // The worker restarts: the connection kept to it is gone.
    drop(worker);
    let mut listener = None;
    until("the port is free", || {
        listener = std::net::TcpListener::bind(addr).ok();
        listener.is_some()
    });
    let _worker = Worker::on(listener.unwrap(), "b");
    assert_eq!(client.post("/echo", "", "x").text(), "b:1:x");
    assert_eq!(host.running.count(|counters| counters.retries.get()), 0);
}

#[test]
fn a_client_chooses_no_worker() {
    let (a, b) = (Worker::start("a"), Worker::start("b"));
    let host = Host::with(&[a.addr, b.addr], "server = { threads = 1 }", &[]);
    let mut client = host.client();
    for _ in 0..4 {
        client.get("/", &format!("x-limpet-destination: {}\r\n", a.addr));
    }
    assert_eq!((a.seen.requests(), b.seen.requests()), (2, 2));
}

#[test]
fn destinations_are_tried_in_order_and_never_seen_by_a_worker() {
    let (a, b) = (Worker::start("a"), Worker::start("b"));
    let dead = nobody();
    let host = Host::with(
        &[a.addr, b.addr, dead],
        FILTER,
        &[("test_filter.wasm", &guest::test_filter())],
    );
    let mut client = host.client();
    let mut go = |list: String| {
        client
            .get("/", &format!("x-do: d\r\nx-to: {list}\r\n"))
            .text()
            .to_owned()
    };
    for _ in 0..3 {
        assert_eq!(go(b.addr.to_string()), "b /");
        assert_eq!(
            go(format!("{dead}, {}", a.addr)),
            "a /",
            "a dead one is passed over"
        );
        assert_eq!(
            go(format!("192.0.2.1:1 ,{}", b.addr)),
            "b /",
            "an unknown one is skipped"
        );
    }
    assert!(b.seen.header("x-limpet-destination").is_empty());
    let balanced: Vec<_> = (0..4).map(|_| go("192.0.2.1:1".into())).collect();
    assert!(
        balanced.contains(&"a /".into()) && balanced.contains(&"b /".into()),
        "{balanced:?}"
    );
}
