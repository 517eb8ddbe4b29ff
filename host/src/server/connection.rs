//! One client connection served over HTTP/1.1: hyper reads requests and writes answers, and `pipeline` is called in
//! between.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tracker::{Order, Tracked};
use crate::client::request_body::RequestBody;
use crate::pipeline::serve::serve;
use crate::pipeline::worker_thread::WorkerThread;

/// The largest request head, and the most of a body or of pipelined requests that is read ahead, in bytes. hyper
/// answers 431 past it; what is smaller and still too large is answered by [`crate::message::framing`].
const BUFFER_MAX: usize = 128 << 10;

/// Serves requests that come over `socket` until the client or an order ends the connection.
pub async fn run<S>(thread: Rc<WorkerThread>, socket: S, tracked: Rc<Tracked>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        tracked.head_complete();
        serve(
            Rc::clone(&thread),
            Rc::clone(&tracked.connection),
            request.map(RequestBody::new),
        )
    });
    let socket = tracked.socket(socket);
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER_MAX)
        // Head and body of a small answer leave as one piece.
        .writev(false)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        tracked.register(cx.waker());
        match tracked.order.get() {
            Order::Serve => {}
            Order::Close => return Poll::Ready(Ok(())),
            Order::Finish => {
                if !std::mem::replace(&mut finishing, true) {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        connection.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(client = %tracked.connection.source, %error, "connection ended");
    }
}
