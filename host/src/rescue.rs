//! The one place where errors become answers: each failure has a status, a `response.code_details` and a sentence.
//!
//! The status says who failed: 4xx the client, 502 and 504 the worker, 503 no worker or filter was available. Showing
//! the answer to filters and sending it are left to `pipeline`.

use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::message::framing::FramingError;
use crate::message::head::ResponseHead;
use crate::message::reply::LocalReply;
use crate::upstream::error::{ConnectError, SendFailure};

/// Why a request gets an answer that no worker gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request is malformed.
    #[error("the request was refused: {0}")]
    Framing(#[from] FramingError),
    /// No route matches.
    #[error("nothing is served under this path")]
    NoRoute,
    /// A filter held more of the request's body than the pipeline holds back (1 MiB).
    #[error("the request's body is too large to be held")]
    RequestTooLarge,
    /// A filter held more of the response's body than the pipeline holds back (1 MiB).
    #[error("the answer is too large to be held")]
    ResponseTooLarge,
    /// No worker takes the request.
    #[error("no worker is available")]
    NoWorker,
    /// No worker accepted a connection.
    #[error("no worker could be reached")]
    Connect,
    /// A worker ended the connection without an answer.
    #[error("the worker ended the connection without an answer")]
    Reset,
    /// A worker's answer was not HTTP.
    #[error("the worker's answer could not be read")]
    BadAnswer,
    /// A worker did not begin its answer in time.
    #[error("the worker did not answer in time")]
    Timeout,
    /// A filter held the request for too long.
    #[error("a filter did not decide in time")]
    HeldTooLong,
    /// A filter is not running.
    #[error("a filter is not running")]
    Filter,
    /// A filter changed the request or answer into something that cannot be sent.
    #[error("a filter made a message that cannot be sent")]
    BadMessage,
}

impl From<ConnectError> for Failure {
    fn from(_: ConnectError) -> Self {
        Self::Connect
    }
}

impl From<SendFailure> for Failure {
    fn from(failure: SendFailure) -> Self {
        match failure {
            SendFailure::Closed => Self::Reset,
            SendFailure::NotHttp => Self::BadAnswer,
            SendFailure::BadRequest => Self::BadMessage,
        }
    }
}

impl Failure {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Framing(FramingError::TooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Framing(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Reset | Self::BadAnswer | Self::ResponseTooLarge | Self::BadMessage => {
                StatusCode::BAD_GATEWAY
            }
            Self::NoWorker | Self::Connect | Self::Filter => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout | Self::HeldTooLong => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What `response.code_details` says.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::Framing(FramingError::TooLarge) => "request_headers_too_large",
            Self::Framing(_) => "http1.codec_error",
            Self::NoRoute => "route_not_found",
            Self::RequestTooLarge => "request_payload_too_large",
            Self::ResponseTooLarge => "response_payload_too_large",
            Self::NoWorker => "no_healthy_upstream",
            Self::Connect => "upstream_reset_before_response_started{connection_failure}",
            Self::Reset => "upstream_reset_before_response_started{connection_termination}",
            Self::BadAnswer => "upstream_reset_before_response_started{protocol_error}",
            Self::Timeout => "upstream_response_timeout",
            Self::HeldTooLong => "filter_timeout",
            Self::Filter => "wasm_fail_stream",
            Self::BadMessage => "filter_invalid_message",
        }
    }

    /// The answer.
    #[must_use]
    pub fn reply(self) -> LocalReply {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        LocalReply {
            head: ResponseHead {
                status: self.status(),
                headers,
            },
            body: Bytes::from(format!("{self}\n")),
            details: Rc::from(self.details()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_status() {
        let table = [
            (Failure::Framing(FramingError::Length), 400),
            (Failure::Framing(FramingError::TooLarge), 431),
            (Failure::NoRoute, 404),
            (Failure::RequestTooLarge, 413),
            (Failure::ResponseTooLarge, 502),
            (Failure::NoWorker, 503),
            (Failure::Connect, 503),
            (Failure::Reset, 502),
            (Failure::BadAnswer, 502),
            (Failure::Timeout, 504),
            (Failure::HeldTooLong, 504),
            (Failure::Filter, 503),
            (Failure::BadMessage, 502),
        ];
        for (failure, status) in table {
            let reply = failure.reply();
            assert_eq!(reply.head.status.as_u16(), status, "{failure:?}");
            assert!(
                !reply.details.contains(' ') && reply.body.ends_with(b"\n"),
                "{failure:?}"
            );
        }
    }
}
