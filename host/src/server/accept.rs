//! Connections as they come: each gets a task on the thread that accepted it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::connection;
use super::watch::{Watch, Watched};
use crate::client::Connection;
use crate::pipeline::lane::Lane;

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
    let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    Ok(Connection::new(
        id,
        source,
        stream.local_addr()?,
        Rc::clone(&watch.clock),
    ))
}
