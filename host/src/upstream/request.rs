//! The body of a request to a worker: none, a block of bytes, the client's own, or one that filters produce.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::client::request_body::{BodyError, RequestBody};
use crate::client::waits::Progress;

/// A body produced elsewhere, such as by filters.
pub type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>;

/// The body of a request to a worker.
pub enum Outgoing {
    /// None.
    Empty,
    /// All of it.
    Full(Bytes),
    /// The client's, as it arrives; every frame is progress for the exchange.
    Client(RequestBody, Progress),
    /// One produced elsewhere.
    Made(BoxBody),
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Client(..) => "Client",
            Self::Made(_) => "Made",
        })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Client(body, progress) => {
                let frame = Pin::new(body).poll_frame(cx);
                if frame.is_ready() {
                    progress.report();
                }
                frame
            }
            Self::Made(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(body, _) => body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(body, _) => body.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }
}
