//! The row "crash noticed": from SIGKILL of a node until another one no longer sends requests to its workers.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use limpet_tests::cluster::Site;
use limpet_tests::scratch::Scratch;
use limpet_wire::codec;
use limpet_wire::names::TABLE_PATH;
use limpet_wire::table::WorkerTable;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Extent;
use crate::cpu::{LOAD, MEASURED};
use crate::nodes::Node;
use crate::report::{Goal, Section, most, percentile};
use crate::tomcat::{Space, Tomcat};

const KILLS: usize = 60;
const KILLS_OF_TOMCAT: usize = 4;
/// How long a node runs before it is killed: longer than it takes two nodes to count a link as lasting.
const ALIVE: Duration = Duration::from_millis(1200);
/// Far more than the time within which silence is noticed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The goal, in seconds.
const WITHIN: f64 = 0.25;

/// Kills nodes of Limpet, and a few Tomcats.
pub async fn run(extent: Extent) -> Section {
    let limpet = limpet(if extent.short { 3 } else { KILLS }).await;
    let tomcat = tomcat(if extent.short { 1 } else { KILLS_OF_TOMCAT }).await;
    println!("crash noticed, seconds: Limpet {limpet:.4?}, Tomcat {tomcat:.3?}");
    section(&limpet, &tomcat)
}

async fn limpet(kills: usize) -> Vec<f64> {
    let mut site = Site::new("crash", &[], &["watcher", "witness", "victim"]);
    let worker = worker().await;
    site.change("victim", |node| {
        node.extra = format!("\n[[worker]]\nroute = \"w\"\nurl = \"http://{worker}\"\n");
    });
    let watcher = Node::start(&site, "watcher", MEASURED).await;
    let _witness = Node::start(&site, "witness", LOAD).await;
    let mut seconds = Vec::new();
    for _ in 0..kills {
        let victim = Node::start(&site, "victim", LOAD).await;
        while !routed(&table(&watcher, None).await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watcher.sees(3).await;
        tokio::time::sleep(ALIVE).await;
        let mut known = table(&watcher, None).await;
        let start = Instant::now();
        victim.process.kill();
        while routed(&known) {
            known = table(&watcher, Some(&known)).await;
            assert!(
                start.elapsed() < PATIENCE,
                "a crash is noticed within {PATIENCE:?}"
            );
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds
}

/// Whether a session that is bound to the victim's worker would be sent there.
fn routed(table: &WorkerTable) -> bool {
    table
        .by_route("w")
        .is_some_and(limpet_wire::table::Worker::takes_bound)
}

/// The worker table, once it is another than `known`: what filters do.
async fn table(node: &Node, known: Option<&WorkerTable>) -> WorkerTable {
    let path = match known {
        None => TABLE_PATH.to_owned(),
        Some(known) => format!("{TABLE_PATH}?after={}&wait_ms=10000", known.version),
    };
    let answer = node.api.call("GET", &path, b"").await.expect("the core answers");
    match answer.status {
        200 => codec::decode(&answer.body).expect("a worker table"),
        204 => known.expect("only asked for what changed").clone(),
        status => panic!("{status} {}", answer.text()),
    }
}

/// Something that answers health checks.
async fn worker() -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener
        .set_nonblocking(true)
        .expect("a socket that does not block");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1024];
                if stream.read(&mut request).await.is_ok() {
                    // Whoever asked may have been killed meanwhile.
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                        .await;
                }
            });
        }
    });
    addr
}

async fn tomcat(kills: usize) -> Vec<f64> {
    let mut seconds = Vec::new();
    for _ in 0..kills {
        let (scratch, space) = (Scratch::new("tomcat"), Space::new());
        let mut watcher = Tomcat::spawn(&space, scratch.path(), 0, MEASURED, true);
        let mut victim = Tomcat::spawn(&space, scratch.path(), 1, LOAD, true);
        watcher.serves().await;
        victim.serves().await;
        watcher.said("Replication member added", PATIENCE).await;
        let start = Instant::now();
        victim.process.kill();
        let noticed = watcher.said("Received member disappeared", PATIENCE).await;
        seconds.push(noticed.duration_since(start).as_secs_f64());
    }
    seconds
}

fn section(limpet: &[f64], tomcat: &[f64]) -> Section {
    let mut text = "## Crash noticed

From SIGKILL of one node until the long poll of another node's worker table says that the dead one's worker takes no
requests (Limpet), or until the other node's log says that the member disappeared (Tomcat, `dropTime` 3000, no requests
under way). Three nodes of Limpet, two of Tomcat, no load.

| what | kills | p50 | p99 | most |
|---|---:|---:|---:|---:|
"
    .to_owned();
    for (name, all) in [("Limpet", limpet), ("Tomcat", tomcat)] {
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        let at = |percent| ms(percentile(all.iter().copied(), percent));
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            all.len(),
            at(50),
            at(99),
            ms(most(all.iter().copied()))
        );
    }
    let p99 = percentile(limpet.iter().copied(), 99);
    Section {
        text,
        goals: vec![Goal::at_most("crash noticed: p99 at most 0.25 s", WITHIN, p99)],
    }
}
