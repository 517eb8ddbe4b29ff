//! One client connection: hyper reads requests and writes answers, the pipeline is what happens in between.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::watch::{Order, Watched};
use crate::pipeline::lane::Lane;
use crate::pipeline::serve::serve;

/// The largest request head, and the most of a body or of pipelined requests that is read ahead, in bytes. hyper
/// answers 431 past it; what is smaller and still too large is answered by [`crate::message::framing`].
const BUFFER_MAX: usize = 128 << 10;

/// Serves requests until the client or an order ends the connection.
pub async fn run(lane: Rc<Lane>, stream: TcpStream, watched: Rc<Watched>) {
    let service = service_fn(|request| {
        watched.head_complete();
        serve(Rc::clone(&lane), Rc::clone(&watched.connection), request)
    });
    let socket = watched.socket(stream);
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER_MAX)
        // Head and body of a small answer leave as one piece.
        .writev(false)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut finishing = false;
    let ended = poll_fn(|cx| {
        watched.register(cx.waker());
        match watched.order.get() {
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
        tracing::debug!(client = %watched.connection.source, %error, "connection ended");
    }
}
