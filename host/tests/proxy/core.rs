//! Workers that come from a core: a stand-in serves the table over the wire's own encoding.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use limpet_wire::codec;
use limpet_wire::table::{TableVersion, Worker as Entry, WorkerStatus, WorkerTable};

use crate::host::{Host, until};
use crate::worker::Worker;

/// A core that knows a table and nothing else.
struct Core {
    addr: SocketAddr,
    table: Arc<(Mutex<WorkerTable>, Condvar)>,
}

impl Core {
    fn start(workers: Vec<Entry>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let version = TableVersion { epoch: 7, number: 1 };
        let table = WorkerTable {
            cluster: "shop".into(),
            version,
            keys: Vec::new(),
            workers,
        };
        let table = Arc::new((Mutex::new(table), Condvar::new()));
        let shared = Arc::clone(&table);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream.unwrap(), &shared));
            }
        });
        Self { addr, table }
    }

    fn change(&self, status: WorkerStatus) {
        let mut table = self.table.0.lock().unwrap();
        table.version.number += 1;
        table.workers[0].status = status;
        self.table.1.notify_all();
    }
}

fn answer(mut stream: std::net::TcpStream, shared: &(Mutex<WorkerTable>, Condvar)) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        let after = head
            .split_once("after=")
            .map(|(_, rest)| rest.split(['&', ' ']).next().unwrap().to_owned());
        let table = shared.0.lock().unwrap();
        let (table, _) = shared
            .1
            .wait_timeout_while(table, Duration::from_secs(1), |t| {
                Some(t.version.to_string()) == after
            })
            .unwrap();
        let body = codec::encode(&*table).unwrap();
        let unchanged = Some(table.version.to_string()) == after;
        drop(table);
        let sent = if unchanged {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat())
        };
        if sent.is_err() {
            return;
        }
    }
}

fn entry(worker: &Worker, route: &str) -> Entry {
    Entry {
        route: route.into(),
        url: format!("http://{}", worker.addr),
        addr: worker.addr.to_string(),
        weight: 1,
        status: WorkerStatus::Up,
        node: route.into(),
    }
}

#[test]
fn the_table_of_the_core_decides_who_gets_new_requests() {
    let (a, b) = (Worker::start("a"), Worker::start("b"));
    let core = Core::start(vec![entry(&a, "a"), entry(&b, "b")]);
    let more = format!(
        "core = {{ url = \"http://{}\" }}\nserver = {{ threads = 1 }}\n\
         filter = [{{ module = \"test_filter.wasm\" }}]",
        core.addr
    );
    let host = Host::from_core(&more, &[("test_filter.wasm", &crate::guest::test_filter())]);
    until("the table arrives", || host.admin("/readyz") == "ready\n");
    let mut client = host.client();
    let mut next = || client.get("/", "").text().to_owned();
    until("requests are served", || next().ends_with(" /"));
    let both: Vec<_> = (0..4).map(|_| next()).collect();
    assert!(
        both.contains(&"a /".into()) && both.contains(&"b /".into()),
        "{both:?}"
    );

    for status in [
        WorkerStatus::Draining,
        WorkerStatus::Down,
        WorkerStatus::NotReady,
        WorkerStatus::Disabled,
    ] {
        core.change(status);
        until("the change arrives", || (0..4).all(|_| next() == "b /"));
    }
    core.change(WorkerStatus::Draining);
    let to_a = format!("x-do: d\r\nx-to: {}\r\n", a.addr);
    let mut bound = host.client();
    until("a filter may still name it", || {
        bound.get("/", &to_a).text() == "a /"
    });
    core.change(WorkerStatus::Up);
    until("it is back", || next() == "a /");
}
