//! Answers, and the one door where refusals become answers: `{"error":"<code>","message":"<sentence>"}`.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::events::EventStream;
use crate::base::limits::EVENT_LISTENERS_MAX;
use crate::engine::sessions::Refused;

/// An answer: with its whole body, or with events for as long as somebody listens.
pub(super) type Reply = Response<Either<Full<Bytes>, EventStream>>;

/// Why a request is answered with an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The caller's mistake, with a sentence.
    #[error("{0}")]
    Bad(String),
    /// No such path.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// The path exists, this method on it does not.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// The body is larger than is read.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// [`EVENT_LISTENERS_MAX`] is reached.
    #[error("{EVENT_LISTENERS_MAX} callers listen to events already, and this node takes no more")]
    TooManyListeners,
    /// No token, or a wrong one.
    #[error("this address of the API wants `authorization: Bearer <token>`")]
    Unauthorized,
}

impl ApiError {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Bad(_) | Self::Refused(Refused::BadName(_)) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::NoSuchPath | Self::Refused(Refused::NotFound | Refused::NoSuchWorker(_)) => {
                (StatusCode::NOT_FOUND, "not_found")
            }
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TooLarge(_) | Self::Refused(Refused::TooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            Self::Refused(Refused::Full(_)) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            Self::Refused(Refused::Unreachable) => (StatusCode::SERVICE_UNAVAILABLE, "unreachable"),
            Self::Refused(Refused::Incomplete) => (StatusCode::SERVICE_UNAVAILABLE, "incomplete"),
            Self::Refused(Refused::NotReady(_)) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::TooManyListeners => (StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
        }
    }

    /// The answer.
    pub(super) fn reply(&self) -> Reply {
        let (status, code) = self.status();
        let mut reply = json(
            status,
            &serde_json::json!({ "error": code, "message": self.to_string() }),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            reply
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::Method(allowed) = self {
            reply
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allowed));
        }
        reply
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json", body),
        Err(error) => with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
    }
}

/// An answer of any type; never to be cached, because everything here changes.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = typed(kind, Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    reply
}

/// An answer that goes on.
pub(super) fn stream(kind: &'static str, body: EventStream) -> Reply {
    typed(kind, Either::Right(body))
}

fn typed(kind: &'static str, body: Either<Full<Bytes>, EventStream>) -> Reply {
    let mut reply = Response::new(body);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::new())));
    *reply.status_mut() = status;
    reply
}
