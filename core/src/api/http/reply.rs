//! Answers, and the one place where an error becomes one: `{"error":"<code>","message":"<sentence>"}`.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::error::ApiError;

/// An answer: with its whole body, or with one that goes on.
pub(super) type Reply = Response<Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>>;

/// The answer that says `error`.
pub(super) fn refusal(error: &ApiError) -> Reply {
    let (status, code) = error.status();
    let mut reply = in_json(status, &json!({ "error": code, "message": error.to_string() }));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        reply
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let ApiError::Method(allowed) = error {
        reply
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
    }
    reply
}

/// An answer in JSON with status 200.
pub(super) fn ok(value: &impl Serialize) -> Reply {
    in_json(StatusCode::OK, value)
}

fn in_json(status: StatusCode, value: &impl Serialize) -> Reply {
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

/// An answer that goes on for as long as `body` does.
pub(super) fn stream(
    kind: &'static str,
    body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static,
) -> Reply {
    typed(kind, Either::Right(body.boxed_unsync()))
}

fn typed(kind: &'static str, body: Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>) -> Reply {
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
