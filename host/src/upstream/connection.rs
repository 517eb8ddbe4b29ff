//! A connection to a worker that takes one request at a time, and the bodies it brings, whatever protocol it speaks.
//!
//! Keeping connections is left to `idle` and `pool`; trying again after a [`SendError`] is left to `pipeline`.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::endpoint::Socket;
use super::error::{ConnectError, SendError};
use super::http1;
use super::request::Outgoing;
use crate::client::request_body::BodyError;
use crate::message::head::ResponseHead;

/// A connection.
#[derive(Debug)]
pub struct Connection(Protocol);

/// What the connection speaks.
#[derive(Debug)]
enum Protocol {
    Http1(http1::Connection),
}

/// The body of an answer, and the connection it comes over.
#[derive(Debug)]
pub(super) enum Source {
    Http1(http1::Body),
}

impl Connection {
    /// Speaks HTTP/1.1 over `socket`.
    ///
    /// # Errors
    /// When the connection ends at once.
    pub async fn http1(socket: Socket) -> Result<Self, ConnectError> {
        http1::Connection::new(socket)
            .await
            .map(|connection| Self(Protocol::Http1(connection)))
            .map_err(|error| ConnectError(error.to_string()))
    }

    /// Whether a request can be sent now. Notices a peer that went away.
    pub fn usable(&mut self) -> bool {
        match &mut self.0 {
            Protocol::Http1(connection) => connection.usable(),
        }
    }

    /// Sends `request` and waits for the head of the answer.
    pub(super) async fn send(self, request: Request<Outgoing>) -> Result<(ResponseHead, Source), SendError> {
        match self.0 {
            Protocol::Http1(connection) => {
                let (head, body) = connection.send(request).await?;
                Ok((head, Source::Http1(body)))
            }
        }
    }
}

impl Source {
    /// The next frame of the body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http1(body) => body.poll_frame(cx),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
        }
    }

    /// The connection, for its next request; only sensible at the end of the body.
    pub(super) fn into_connection(self) -> Connection {
        match self {
            Self::Http1(body) => Connection(Protocol::Http1(body.into_connection())),
        }
    }

    /// The raw connection after a 101 answer; `None` when the worker did not switch protocols.
    pub(super) async fn tunnel(self) -> Option<impl AsyncRead + AsyncWrite + Unpin> {
        match self {
            Self::Http1(body) => body.tunnel().await,
        }
    }
}
