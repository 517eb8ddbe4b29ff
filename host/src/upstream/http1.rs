//! One HTTP/1.1 connection to a worker, polled by the task that waits for the answer (RFC 9112).
//!
//! hyper splits a client connection into a handle and a future to be spawned. Nothing is spawned here, so an answer
//! costs no wake-up of another task. An idle connection is not polled; that its peer went away is noticed when the pool
//! takes it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::endpoint::Socket;
use super::error::{SendError, SendFailure};
use super::request::Outgoing;
use crate::client::request_body::BodyError;
use crate::message::head::ResponseHead;

/// The largest head of an answer, in bytes, and the most of a body that is read ahead.
const BUFFER_MAX: usize = 128 << 10;

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>>>>;

/// A connection that serves one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Outgoing>,
    /// hyper's half that moves bytes; `None` once the connection has ended.
    driver: Option<Driver>,
}

/// The body of an answer, and the connection it comes over.
#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    connection: Connection,
    upgrade: Option<OnUpgrade>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("open", &self.driver.is_some())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Speaks HTTP/1.1 over `socket`.
    pub(super) async fn new(socket: Socket) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(socket))
            .await?;
        let mut connection = Self {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
        };
        connection.drive(&mut Context::from_waker(Waker::noop()));
        Ok(connection)
    }

    /// Moves bytes. A connection that ended is dropped, which completes the request that waits on it.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether a request can be sent now. Notices a peer that went away.
    pub(super) fn usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends `request` and waits for the head of the answer.
    pub(super) async fn send(
        mut self,
        request: Request<Outgoing>,
    ) -> Result<(ResponseHead, Body), SendError> {
        let mut response = self.exchange(request).await?;
        let upgrade =
            (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(&mut response));
        let (parts, incoming) = response.into_parts();
        let head = ResponseHead {
            status: parts.status,
            headers: parts.headers,
        };
        let body = Body {
            incoming,
            connection: self,
            upgrade,
        };
        Ok((head, body))
    }

    async fn exchange(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut idle = Context::from_waker(Waker::noop());
        poll_fn(|cx| {
            if let Some(driver) = &mut self.driver
                && driver.as_mut().poll(cx).is_ready()
            {
                self.driver = None;
            }
            // Only the connection above brings the answer, so it needs no waker of its own.
            match answer.as_mut().poll(&mut idle) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut refused)) => {
                    let unsent = refused.take_message();
                    Poll::Ready(Err(SendError {
                        unsent,
                        failure: failure(&refused.into_error()),
                    }))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

fn failure(error: &hyper::Error) -> SendFailure {
    if error.is_parse() {
        SendFailure::NotHttp
    } else if error.is_user() {
        SendFailure::BadRequest
    } else {
        SendFailure::Closed
    }
}

impl Body {
    /// The next frame; moves the connection where that is needed.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // The body only moves when its connection does, so it needs no waker of its own.
        let mut idle = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut self.incoming).poll_frame(&mut idle);
        if frame.is_pending() {
            self.connection.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(&mut idle);
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    /// The connection, for its next request; only sensible at the end of the body.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// The raw connection after a 101 answer: drives HTTP to its end and takes over.
    ///
    /// # Errors
    /// When the worker did not switch protocols.
    pub(super) async fn tunnel(mut self) -> Option<impl AsyncRead + AsyncWrite + Unpin> {
        let upgrade = self.upgrade.take()?;
        let driver = self.connection.driver.take();
        let driven = async {
            if let Some(driver) = driver {
                // How HTTP ends is seen in what `upgrade` yields.
                let _ = driver.await;
            }
        };
        let (upgraded, ()) = tokio::join!(upgrade, driven);
        upgraded.ok().map(TokioIo::new)
    }
}
