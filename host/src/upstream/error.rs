//! The errors of reaching a worker, by who has to act: the worker in all cases but one, the sender of the request in
//! that.

use http::Request;

use super::request::Outgoing;

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
    #[error("the connection ended without an answer")]
    Closed,
    /// The worker's answer is not of the protocol.
    #[error("the answer could not be read")]
    NotHttp,
    /// The request cannot be sent as it is, or its body broke off.
    #[error("the request could not be sent")]
    BadRequest,
}

/// A connection could not be opened. The worker is down, unreachable or full.
#[derive(Debug, thiserror::Error)]
#[error("no connection: {0}")]
pub struct ConnectError(pub String);
