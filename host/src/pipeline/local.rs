//! Answers made here instead of by a worker: shown to the filters that saw the request, then given a true length. Which
//! error becomes which answer is left to `rescue`.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Response, StatusCode};

use super::answer::ClientBody;
use super::exchange::{Ended, Exchange};
use crate::message::hop;
use crate::message::reply::LocalReply;
use crate::rescue::Failure;
use crate::telemetry::counters::Counters;

/// Shows `reply` to the filters that saw the request, last one first. They may change its head.
///
/// # Errors
/// When a filter ends the request in another way.
pub async fn show(exchange: &Exchange, reply: LocalReply, is_head: bool) -> Result<LocalReply, Ended> {
    {
        let mut state = exchange.stream.state();
        state.request = None;
        state.info.status = Some(reply.head.status.as_u16());
        state.info.details = Some(Rc::clone(&reply.details));
        state.response = Some(reply.head);
    }
    exchange
        .response_headers(is_head || reply.body.is_empty())
        .await?;
    let head = exchange
        .stream
        .state()
        .response
        .take()
        .ok_or(Failure::BadMessage)?;
    Ok(LocalReply { head, ..reply })
}

/// `reply` as a response with a true length (RFC 9110, section 8.6). The body is left out where none may be sent:
/// after HEAD, and with 204 and 304.
pub fn response(
    counters: &Counters,
    mut reply: LocalReply,
    exchange: Option<&Rc<Exchange>>,
    is_head: bool,
) -> Response<ClientBody> {
    hop::strip(&mut reply.head.headers);
    let status = reply.head.status;
    counters.answered(status);
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    reply.head.headers.remove(CONTENT_LENGTH);
    if !bodiless {
        let length = HeaderValue::from(reply.body.len());
        reply.head.headers.insert(CONTENT_LENGTH, length);
    }
    if let Some(exchange) = exchange {
        let mut state = exchange.stream.state();
        state.info.status = Some(status.as_u16());
        state.info.details = Some(reply.details);
    }
    let body = if bodiless || is_head {
        Bytes::new()
    } else {
        reply.body
    };
    let mut response = Response::new(ClientBody::local(body, exchange.cloned()));
    *response.status_mut() = status;
    *response.headers_mut() = reply.head.headers;
    response
}
