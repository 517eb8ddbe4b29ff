//! The demo worker: a small web application that keeps its sessions in the core beside it.
//!
//! ```text
//! demo-worker --listen 127.0.0.1:8081 --core unix:/run/limpet/core.sock --route node1 --color crimson
//! ```
//! It is what any worker looks like to Limpet: it reads the session named by `limpet-session-id` from its own core,
//! writes changes back before it answers, and ends its session ids with its own route. It has no memory of its own,
//! so killing it loses nothing. Deliberately not an example of a web framework.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

mod options;
mod page;
mod query;
mod routes;
mod sessions;

use std::convert::Infallible;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use options::Options;
use routes::App;

/// The largest request head, in bytes; hyper answers 431 past it.
const HEAD_MAX: usize = 1 << 20;
/// The most request headers; hyper answers 431 past it.
const HEADERS_MAX: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(sentence) => return failed(&sentence),
    };
    let listener = match TcpListener::bind(&options.listen).await {
        Ok(listener) => listener,
        Err(e) => return failed(&format!("cannot listen on {}: {e}", options.listen)),
    };
    send(&format!("listening on {} as {}", options.listen, options.route));
    let app = Arc::new(App::new(options));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&app)))),
            Err(e) => send(&format!("cannot accept a connection: {e}")),
        }
    }
}

async fn serve(stream: TcpStream, app: Arc<App>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| async {
        let line = format!("{} {}", request.method(), request.uri());
        let quiet = request.uri().path() == "/healthz";
        let response = app.answer(request).await;
        if !quiet {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            send(&format!(
                "access {} {} {line}",
                now.as_millis(),
                response.status().as_u16()
            ));
        }
        Ok::<_, Infallible>(response)
    });
    let _ = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn send(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn failed(sentence: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "demo-worker: {sentence}");
    ExitCode::from(64)
}
