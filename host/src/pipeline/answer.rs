//! The body of an answer on its way to the client: a worker's, or a block of bytes.
//!
//! The exchange ends with its last byte. A worker's body that stands still for too long breaks off. Writing it to the
//! socket is left to `server`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::Filtered;
use super::exchange::Exchange;
use crate::client::request_body::BodyError;
use crate::message::hop;
use crate::rescue::Failure;
use crate::upstream::answer::AnswerBody;
use crate::upstream::cluster::OpenRequest;
use crate::wasm::abi::numbers::Direction;

/// A body for a client. It holds the exchange open; the filters' contexts close when it is dropped.
pub struct ClientBody {
    inner: Inner,
    exchange: Option<Rc<Exchange>>,
    /// Counts at the worker until the body has left.
    _open: Option<OpenRequest>,
    /// How long a worker's body may stand still while the client is ready for more.
    timeout: Duration,
}

enum Inner {
    Local(Bytes),
    Worker(AnswerBody),
    Filtered(Box<Filtered<AnswerBody>>),
}

impl ClientBody {
    /// All of it, at hand.
    #[must_use]
    pub const fn local(bytes: Bytes, exchange: Option<Rc<Exchange>>) -> Self {
        Self {
            inner: Inner::Local(bytes),
            exchange,
            _open: None,
            timeout: Duration::ZERO,
        }
    }

    /// A worker's, through the filters that look at bodies.
    #[must_use]
    pub fn worker(body: AnswerBody, open: OpenRequest, exchange: Rc<Exchange>, timeout: Duration) -> Self {
        let mut filters = if body.is_end_stream() {
            Vec::new()
        } else {
            exchange.body_filters()
        };
        let inner = if filters.is_empty() {
            Inner::Worker(body)
        } else {
            filters.reverse();
            Inner::Filtered(Box::new(Filtered::new(
                body,
                Rc::clone(&exchange),
                Direction::Response,
                filters,
            )))
        };
        Self {
            inner,
            exchange: Some(exchange),
            _open: Some(open),
            timeout,
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = this.poll_inner(cx);
        let Some(exchange) = &this.exchange else {
            return polled;
        };
        match &polled {
            Poll::Ready(_) => exchange.wait.end(),
            Poll::Pending => {
                exchange.wait.begin_once(this.timeout);
                if exchange.wait.is_over(cx.waker()) {
                    return Poll::Ready(Some(Err(Failure::Timeout.into())));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Local(bytes) => bytes.is_empty(),
            Inner::Worker(body) => body.is_end_stream(),
            Inner::Filtered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Local(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Worker(body) => body.size_hint(),
            // Filters may make it longer or shorter.
            Inner::Filtered(_) => SizeHint::default(),
        }
    }
}

impl ClientBody {
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self;
        match &mut this.inner {
            Inner::Local(bytes) if bytes.is_empty() => Poll::Ready(None),
            Inner::Local(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Inner::Filtered(body) => Pin::new(&mut **body).poll_frame(cx),
            Inner::Worker(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(mut frame))) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        hop::strip_trailers(trailers);
                    } else if let (Some(data), Some(exchange)) = (frame.data_ref(), &this.exchange) {
                        let [_, size] = &mut exchange.stream.state().info.sizes;
                        *size += data.len() as u64;
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                other => other,
            },
        }
    }
}
