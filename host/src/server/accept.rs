//! The accept loop: each connection gets a task on the thread that accepted it.
//!
//! A task that panics loses its connection and nothing else. Serving a connection is left to `connection`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::connection;
use super::tracker::{Tracked, Tracker};
use crate::client::connection::{Connection, Scheme};
use crate::pipeline::worker_thread::WorkerThread;

/// The most connections of one thread; past it a new one is closed at once.
pub const CONNECTIONS_MAX: usize = 65_536;
/// The pause after an error that concerns the process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts for ever.
pub async fn accept(thread: Rc<WorkerThread>, listener: TcpListener, tracker: Rc<Tracker>) {
    loop {
        match listener.accept().await {
            Ok((socket, source)) => {
                if tracker.len() >= CONNECTIONS_MAX {
                    continue;
                }
                thread.counters.connections.add(1);
                if let Ok(facts) = facts(&socket, source, &thread) {
                    start(Rc::clone(&thread), socket, facts, Rc::clone(&tracker));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves `socket` in a task of its own, tracked until the task is over, however it ends.
fn start<S>(thread: Rc<WorkerThread>, socket: S, connection: Rc<Connection>, tracker: Rc<Tracker>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let tracked = Tracked::new(connection);
    let registered = Registered::new(tracker, &tracked, Rc::clone(&thread));
    tokio::task::spawn_local(async move {
        let _registered = registered;
        connection::run(thread, socket, tracked).await;
    });
}

/// A connection in the tracker's list, until it is dropped.
struct Registered {
    tracker: Rc<Tracker>,
    id: u64,
    thread: Rc<WorkerThread>,
}

impl Registered {
    fn new(tracker: Rc<Tracker>, tracked: &Rc<Tracked>, thread: Rc<WorkerThread>) -> Self {
        tracker.add(tracked);
        Self {
            tracker,
            id: tracked.connection.id,
            thread,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.tracker.remove(self.id);
        if std::thread::panicking() {
            self.thread.counters.connection_panics.add(1);
            tracing::error!(
                connection = self.id,
                "serving a connection panicked; the connection is closed. This is a bug in limpet-host"
            );
        }
    }
}

fn facts(socket: &TcpStream, source: SocketAddr, thread: &WorkerThread) -> std::io::Result<Rc<Connection>> {
    static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
    socket.set_nodelay(true)?;
    let id = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let waits = Rc::clone(&thread.waits);
    Ok(Connection::new(
        id,
        source,
        socket.local_addr()?,
        Scheme::Http,
        waits,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::worker_thread::Blueprint;
    use crate::supervise::Supervisor;
    use crate::wasm::vm::compile::CompiledChain;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf};

    /// A socket whose first read panics.
    struct Faulty(DuplexStream);

    impl AsyncRead for Faulty {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            panic!("a bug on one connection");
        }
    }

    impl AsyncWrite for Faulty {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    fn connection(id: u64, thread: &WorkerThread) -> Rc<Connection> {
        let address = "127.0.0.1:1".parse().unwrap();
        Connection::new(id, address, address, Scheme::Http, Rc::clone(&thread.waits))
    }

    #[test]
    fn a_panic_ends_its_connection_only() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            let blueprint = Arc::new(Blueprint {
                routes: Vec::new(),
                clusters: Vec::new(),
                core: None,
                chain: CompiledChain::default(),
            });
            let counters = Arc::default();
            let (supervisor, mut reports) = Supervisor::new();
            let thread = WorkerThread::start(&blueprint, &counters, &supervisor).unwrap();
            let tracker = Rc::new(Tracker::new(Rc::clone(&thread.waits)));

            let (mut client, socket) = tokio::io::duplex(4096);
            start(
                Rc::clone(&thread),
                socket,
                connection(1, &thread),
                Rc::clone(&tracker),
            );
            let (mut victim, socket) = tokio::io::duplex(4096);
            start(
                Rc::clone(&thread),
                Faulty(socket),
                connection(2, &thread),
                Rc::clone(&tracker),
            );
            assert_eq!(tracker.len(), 2);
            let mut nothing = Vec::new();
            victim.read_to_end(&mut nothing).await.unwrap();
            assert!(nothing.is_empty(), "its own connection is closed");
            assert_eq!((tracker.len(), counters.connection_panics.get()), (1, 1));

            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            assert!(reports.try_recv().is_err(), "the process goes on");
        });
    }
}
