//! A connection to a worker that takes one request at a time, whatever protocol it speaks.
//!
//! Keeping connections is left to `pool`; trying again after a [`SendError`] is left to `pipeline`.

use std::rc::Rc;

use http::Request;

use super::answer::{Answer, Source};
use super::endpoint::Socket;
use super::http1;
use super::pool::Pool;
use super::request::Outgoing;

/// A connection.
#[derive(Debug)]
pub struct Connection(Protocol);

/// What the connection speaks.
#[derive(Debug)]
enum Protocol {
    Http1(http1::Connection),
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct SendError {
    /// The request, when not a byte of it was sent.
    pub unsent: Option<Request<Outgoing>>,
    /// What went wrong.
    pub failure: SendFailure,
}

/// Who failed: the worker, in two ways, or the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// The worker ended the connection before its answer.
    #[error("the worker ended the connection without an answer")]
    Closed,
    /// The worker's answer is not of the protocol.
    #[error("the worker's answer could not be read")]
    NotHttp,
    /// The request cannot be sent as it is, or its body broke off.
    #[error("the request could not be sent")]
    BadRequest,
}

/// A connection could not be opened. The worker is down, unreachable or full.
#[derive(Debug, thiserror::Error)]
#[error("the worker does not accept connections: {0}")]
pub struct ConnectError(pub String);

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

    pub(super) const fn from_http1(connection: http1::Connection) -> Self {
        Self(Protocol::Http1(connection))
    }

    /// Whether a request can be sent now. Notices a peer that went away.
    pub fn usable(&mut self) -> bool {
        match &mut self.0 {
            Protocol::Http1(connection) => connection.usable(),
        }
    }

    /// Sends `request` and waits for the head of the answer. The connection returns to `home` at the end of the
    /// answer's body; it is closed when the answer is dropped earlier.
    ///
    /// # Errors
    /// See [`SendError`]; the connection is closed then.
    pub async fn send(self, request: Request<Outgoing>, home: Rc<Pool>) -> Result<Answer, SendError> {
        match self.0 {
            Protocol::Http1(connection) => {
                let (head, body) = connection.send(request).await?;
                Ok(Answer::new(head, Source::Http1(body), home))
            }
        }
    }
}
