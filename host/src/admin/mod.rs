//! The admin page: `/healthz`, `/readyz` and `/metrics` over HTTP, for operators and their tools.
//!
//! It only reads. Counting is left to `telemetry` and `wasm::shared`.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use limpet_wire::table::WorkerTable;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::telemetry::counters::{self, Counters};
use crate::wasm::shared::Shared;

/// How long a request head may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after an error that concerns the process, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// What the admin page reads.
#[derive(Debug)]
pub struct State {
    /// Every thread's counters.
    pub counters: Vec<Arc<Counters>>,
    /// What filters share, their metrics among it.
    pub shared: Arc<Shared>,
    /// Whether workers come from the core.
    pub needs_table: bool,
    /// The core's table.
    pub tables: watch::Receiver<Option<Arc<WorkerTable>>>,
    /// Set when the proxy stops.
    pub stopping: AtomicBool,
}

/// Serves `listener` for ever.
pub async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(&request, &state);
                async { Ok::<_, Infallible>(response) }
            });
            // A client that goes away is no event here.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match unready(state) {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        "/metrics" => {
            let mut page = String::new();
            counters::print(&state.counters, &mut page);
            state.shared.print(&mut page);
            let mut response = Response::new(Full::from(page));
            let format = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n",
        ),
    }
}

fn unready(state: &State) -> Option<&'static str> {
    if state.stopping.load(Ordering::Relaxed) {
        Some("stopping\n")
    } else if state.needs_table && state.tables.borrow().is_none() {
        Some("no worker table from the core yet\n")
    } else {
        None
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
