//! A worker whose behaviour is in the path: `/reset` ends the connection, `/slow` waits, `/echo` returns the body,
//! `/chunks` answers in pieces, anything else says who it is and what it saw.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A worker that runs until it is dropped.
pub(crate) struct Worker {
    pub(crate) addr: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What a worker saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// Requests whose connection went away before they were answered.
    pub(crate) cancelled: AtomicUsize,
    pub(crate) last: Mutex<Vec<(String, String)>>,
}

impl Seen {
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The header lines of the last request.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let last = self.last.lock().unwrap();
        last.iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .collect()
    }
}

impl Worker {
    pub(crate) fn start(name: &'static str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, name)
    }

    pub(crate) fn on(listener: std::net::TcpListener, name: &'static str) -> Self {
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, name, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            addr,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn accept(listener: tokio::net::TcpListener, name: &'static str, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| answer(name, Arc::clone(&seen), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let _ = connection.await;
        });
    }
}

/// Counts a request that is dropped before its answer.
struct Cancelled(Option<Arc<Seen>>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(seen) = &self.0 {
            seen.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn answer(
    name: &'static str,
    seen: Arc<Seen>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let lines = request.headers().iter();
    let lines = lines.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    *seen.last.lock().unwrap() = lines.collect();
    match request.uri().path() {
        "/reset" => return Err(std::io::Error::other("as asked")),
        "/slow" => {
            let mut guard = Cancelled(Some(Arc::clone(&seen)));
            tokio::time::sleep(Duration::from_secs(15)).await;
            guard.0 = None;
        }
        "/pause" => tokio::time::sleep(Duration::from_millis(500)).await,
        "/echo" => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            return Ok(full(format!("{name}:{}:", body.len()), &body));
        }
        "/chunks" => return Ok(Response::new(chunks())),
        "/websocket" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut tunnel = TokioIo::new(upgrade.await.unwrap());
                let (mut read, mut write) = tokio::io::split(&mut tunnel);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let response = Response::builder().status(101).header("connection", "upgrade");
            return Ok(response.header("upgrade", "echo").body(empty()).unwrap());
        }
        "/empty" => return Ok(Response::builder().status(204).body(empty()).unwrap()),
        "/hops" => {
            let response = Response::builder()
                .header("connection", "x-hop")
                .header("x-hop", "1");
            return Ok(response
                .header("keep-alive", "timeout=5")
                .header("x-end", "1")
                .body(empty())
                .unwrap());
        }
        _ => {}
    }
    let path = request.uri().to_string();
    let response = Response::new(Full::from(format!("{name} {path}")).boxed());
    Ok(response)
}

fn full(mut text: String, body: &[u8]) -> Response<Body> {
    text.push_str(&String::from_utf8_lossy(body));
    Response::new(Full::from(text).boxed())
}

fn empty() -> Body {
    Full::from("").boxed()
}

/// Five pieces, 50 ms apart.
fn chunks() -> Body {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for piece in 0..5 {
            if sender.send(Bytes::from(format!("piece {piece};"))).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let frames = std::future::poll_fn(move |cx| receiver.poll_recv(cx));
    StreamBody::new(Pieces(Box::pin(frames))).boxed()
}

struct Pieces<F>(std::pin::Pin<Box<F>>);

impl<F: Future<Output = Option<Bytes>>> futures_core::Stream for Pieces<F> {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0
            .as_mut()
            .poll(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
