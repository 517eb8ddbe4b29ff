//! Filters that pause, answer, send requests, change bodies, trap, loop and grow.

use std::time::{Duration, Instant};

use crate::guest;
use crate::host::{Host, until};
use crate::worker::Worker;

fn host(worker: &Worker, options: &str) -> Host {
    let more = format!("filter = [{{ module = \"test_filter.wasm\"{options} }}]\nserver = {{ threads = 1 }}");
    Host::with(
        &[worker.addr],
        &more,
        &[("test_filter.wasm", &guest::test_filter())],
    )
}

#[test]
fn a_filter_sees_the_way_in_and_the_way_back() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let answer = host.client().get("/", "");
    assert_eq!(answer.header("x-filter"), Some("seen"));
    let answer = host.client().get("/", "x-do: h\r\n");
    assert_eq!(
        (answer.status, worker.seen.header("x-added")),
        (200, vec!["1".to_owned()])
    );
}

#[test]
fn a_filter_answers() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let mut client = host.client();
    let answer = client.get("/", "x-do: r\r\n");
    assert_eq!((answer.status, answer.text()), (418, "no tea"));
    assert_eq!(
        answer.header("x-filter"),
        Some("seen"),
        "its own answer passes it too"
    );
    assert_eq!(worker.seen.requests(), 0);
    assert_eq!(client.get("/", "").status, 200);
}

#[test]
fn a_filter_holds_asks_and_goes_on() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let answer = host.client().get("/held", "x-do: c\r\n");
    assert_eq!((answer.status, answer.text()), (200, "a /held"));
    assert_eq!(
        worker.seen.header("x-called"),
        ["1"],
        "set while the request was held"
    );
    assert_eq!(worker.seen.requests(), 2, "the call-out and the request");
}

#[test]
fn a_call_to_nobody_is_an_argument_error() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    assert_eq!(host.client().get("/", "x-do: u\r\n").status, 200);
    assert_eq!(worker.seen.header("x-status"), ["2"]);
}

#[test]
fn a_filter_replaces_a_body() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let mut client = host.client();
    let answer = client.post("/echo", "x-do: b\r\n", "some body that goes away");
    assert_eq!(answer.text(), "a:8:replaced");
    client
        .send("POST /echo HTTP/1.1\r\nhost: a\r\nx-do: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    std::thread::sleep(Duration::from_millis(50));
    client.send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.read().text(), "a:8:replaced");
}

#[test]
fn a_body_held_too_long_is_413() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let big = "x".repeat(2 << 20);
    let mut client = host.client();
    let length = big.len();
    client.send(&format!(
        "POST /echo HTTP/1.1\r\nhost: a\r\nx-do: b\r\ncontent-length: {length}\r\n\r\n"
    ));
    client.send(&big[..(1 << 20) + (1 << 19)]);
    assert_eq!(client.read_head().0, 413);
}

#[test]
fn a_trap_costs_one_request_and_one_restart() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    assert_eq!(host.client().get("/", "x-do: t\r\n").status, 503);
    let restarted = || host.client().get("/", "").status == 200;
    until("the filter runs again", restarted);
    assert_eq!(host.client().get("/", "").header("x-filter"), Some("seen"));
    let count = |page: &str, name: &str| page.contains(&format!("\n{name} 1\n"));
    let page = host.admin("/metrics");
    assert!(
        count(&page, "limpet_host_vm_traps_total") && count(&page, "limpet_host_vm_restarts_total"),
        "{page}"
    );
}

#[test]
fn a_trap_passes_where_so_configured() {
    let worker = Worker::start("a");
    let host = host(&worker, ", on_failure = \"open\"");
    let answer = host.client().get("/", "x-do: t\r\n");
    assert_eq!((answer.status, answer.header("x-filter")), (200, None));
}

#[test]
fn a_request_held_by_a_filter_that_dies_is_answered() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    let mut held = host.client();
    held.send("GET / HTTP/1.1\r\nhost: a\r\nx-do: p\r\n\r\n");
    until("the request is held", || {
        host.running.count(|counters| counters.requests.get()) == 1
    });
    assert_eq!(host.client().get("/", "x-do: t\r\n").status, 503);
    assert_eq!(held.read().status, 503);
}

#[test]
fn a_loop_without_end_is_ended() {
    let worker = Worker::start("a");
    let host = host(&worker, ", deadline = \"20ms\"");
    let started = Instant::now();
    assert_eq!(host.client().get("/", "x-do: l\r\n").status, 503);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    until("the filter runs again", || {
        host.client().get("/", "").status == 200
    });
}

#[test]
fn memory_without_end_is_refused() {
    let worker = Worker::start("a");
    let host = host(&worker, ", memory = \"1MiB\"");
    assert_eq!(host.client().get("/", "x-do: m\r\n").status, 503);
    until("the filter runs again", || {
        host.client().get("/", "").status == 200
    });
}

#[test]
fn a_pointer_outside_of_the_guest_is_an_error_for_it_alone() {
    let worker = Worker::start("a");
    let host = host(&worker, "");
    assert_eq!(host.client().get("/", "x-do: o\r\n").status, 200);
    assert_eq!(worker.seen.header("x-status"), ["6"]);
}

#[test]
fn a_filter_that_refuses_its_configuration_stops_the_start() {
    let worker = Worker::start("a");
    let text = format!(
        "listener = [{{ bind = \"127.0.0.1:0\" }}]\nroute = [{{ prefix = \"/\", cluster = \"a\" }}]\n\
         cluster = [{{ name = \"a\", workers = [{{ route = \"a\", url = \"http://{}\" }}] }}]\n\
         filter = [{{ module = \"test_filter.wasm\", config = {{ refuse = true }} }}]",
        worker.addr
    );
    let folder = std::env::temp_dir().join(format!("limpet-host-refuse-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("test_filter.wasm"), guest::test_filter()).unwrap();
    let config = limpet_host::config::Config::parse(&text, &folder).unwrap();
    let error = limpet_host::proxy::Proxy::build(config).unwrap_err();
    assert!(error.is_config(), "{error}");
    assert!(
        error
            .to_string()
            .contains("test_filter refuses its configuration"),
        "{error}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}
