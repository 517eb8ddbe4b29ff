//! Connections as they come: each gets a task on the thread that accepted it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};

use super::connection;
use super::watch::{Watch, Watched};
use crate::pipeline::lane::Lane;
use crate::wasm::stream::Connection;

/// The most connections of one thread; past it a new one is closed at once.
pub const CONNECTIONS_MAX: usize = 65_536;
/// The pause after an error that concerns the process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts for ever.
pub async fn accept(lane: Rc<Lane>, listener: TcpListener, watch: Rc<Watch>) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                if watch.len() >= CONNECTIONS_MAX {
                    continue;
                }
                lane.counters.connections.add(1);
                if let Ok(facts) = facts(&stream, source, &watch) {
                    start(Rc::clone(&lane), stream, Watched::new(facts), Rc::clone(&watch));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn start(lane: Rc<Lane>, stream: TcpStream, watched: Rc<Watched>, watch: Rc<Watch>) {
    watch.add(&watched);
    tokio::task::spawn_local(async move {
        let id = watched.connection.id;
        connection::run(lane, stream, watched).await;
        watch.remove(id);
    });
}

fn facts(stream: &TcpStream, source: SocketAddr, watch: &Watch) -> std::io::Result<Rc<Connection>> {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    stream.set_nodelay(true)?;
    let destination = stream.local_addr()?;
    // An IPv4 client of an IPv6 socket is still an IPv4 client.
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    Ok(Rc::new(Connection {
        id: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        source,
        destination,
        source_ip: HeaderValue::from_str(&source.ip().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        source_text: source.to_string().into(),
        destination_text: destination.to_string().into(),
        open: Cell::new(0),
        last: Cell::new(watch.clock.get()),
        clock: Rc::clone(&watch.clock),
    }))
}
