//! What is sent to a worker, and what comes back.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::cluster::Host;
use super::connection::Connection;
use super::pool::Pool;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body made elsewhere, such as by filters.
pub type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>;

/// The body of a request to a worker.
pub enum Outgoing {
    /// None.
    Empty,
    /// All of it.
    Full(Bytes),
    /// The client's, as it comes.
    Client(Incoming, Rc<crate::client::Connection>),
    /// One made elsewhere.
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
            Self::Client(incoming, client) => {
                let frame = Pin::new(incoming).poll_frame(cx);
                if frame.is_ready() {
                    client.progress();
                }
                frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            Self::Made(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(incoming, _) => incoming.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(incoming, _) => incoming.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }
}

/// The body of a worker's answer, and the connection it comes over. At its end the connection returns to its pool;
/// dropped before, the connection is closed, which is how the worker learns that nobody waits any more.
#[derive(Debug)]
pub struct WorkerBody {
    incoming: Incoming,
    connection: Option<Connection>,
    home: Rc<Pool>,
    first: Option<Frame<Bytes>>,
    /// The end was seen; a body of known length also knows without.
    ended: bool,
    open: Option<Rc<Host>>,
}

impl WorkerBody {
    /// The rest of an answer from `home`; `open` counts it as an open request.
    #[must_use]
    pub fn new(incoming: Incoming, connection: Connection, home: Rc<Pool>, open: Option<Rc<Host>>) -> Self {
        if let Some(host) = &open {
            host.load.open.set(host.load.open.get().saturating_add(1));
        }
        Self {
            incoming,
            connection: Some(connection),
            home,
            first: None,
            ended: false,
            open,
        }
    }

    /// Takes what already came, so that head and body leave in one write. Waits for nothing.
    pub fn prefetch(&mut self, cx: &mut Context<'_>) {
        if !self.incoming.is_end_stream()
            && let Poll::Ready(Some(Ok(frame))) = self.poll(cx)
        {
            self.first = Some(frame);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The body only moves when its connection does, so it needs no waker of its own.
        let mut idle = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut self.incoming).poll_frame(&mut idle);
        if frame.is_pending() {
            if let Some(connection) = &mut self.connection {
                connection.drive(cx);
            }
            frame = Pin::new(&mut self.incoming).poll_frame(&mut idle);
        }
        self.ended |= matches!(frame, Poll::Ready(None));
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }
}

impl Body for WorkerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        this.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.ended || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        if let Some(data) = self.first.as_ref().and_then(Frame::data_ref) {
            let len = data.len() as u64;
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + len),
                None => hint = SizeHint::default(),
            }
        }
        hint
    }
}

impl Drop for WorkerBody {
    fn drop(&mut self) {
        if let Some(host) = &self.open {
            host.load.open.set(host.load.open.get().saturating_sub(1));
        }
        if let Some(connection) = self.connection.take()
            && (self.ended || self.incoming.is_end_stream())
        {
            self.home.put(connection);
        }
    }
}
