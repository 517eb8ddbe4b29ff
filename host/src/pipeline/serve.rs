//! The order in which one request is served: framing, filters, route, worker, filters reversed.
//!
//! Each step is left to a module of its own. What is decided here is the order, and what happens to whatever ends a
//! request early.

use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;

use super::answer::ClientBody;
use super::body::Filtered;
use super::exchange::{Ended, Exchange};
use super::forward::{self, Forwarded};
use super::worker_thread::WorkerThread;
use super::{local, tunnel};
use crate::client::connection::Connection;
use crate::client::request_body::RequestBody;
use crate::client::upgrade::Upgrade;
use crate::message::head::{RequestHead, ResponseHead};
use crate::message::{framing, hop};
use crate::rescue::Failure;
use crate::route;
use crate::upstream::cluster::OpenRequest;
use crate::upstream::request::Outgoing;
use crate::wasm::abi::numbers::Direction;
use crate::wasm::stream::Stream;
use crate::wasm::stream::info::StreamInfo;

/// The connection is closed without an answer, because a filter asked for it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("closed by a filter")]
pub struct Closed;

/// A client that asks to switch protocols, and to which one.
struct Switch {
    protocol: HeaderValue,
    client: Upgrade,
}

/// Answers `request`.
///
/// # Errors
/// [`Closed`]; every other error becomes an answer.
pub async fn serve(
    thread: Rc<WorkerThread>,
    connection: Rc<Connection>,
    mut request: Request<RequestBody>,
) -> Result<Response<ClientBody>, Closed> {
    thread.counters.requests.add(1);
    let switch = hop::upgrade(request.headers()).map(|protocol| Switch {
        protocol,
        client: Upgrade::take(&mut request),
    });
    let (mut parts, body) = request.into_parts();
    if let Err(error) = framing::check(&parts.method, &parts.uri, parts.version, &mut parts.headers) {
        thread.counters.rescued.add(1);
        let reply = Failure::Framing(error).reply();
        let mut response = local::response(&thread.counters, reply, None, false);
        // Nobody knows where the next request would begin.
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    if !parts.headers.contains_key(HOST) {
        // An HTTP/1.0 client; the worker is asked in HTTP/1.1, which wants one.
        let host = HeaderValue::from_str(&connection.destination_text);
        parts
            .headers
            .insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("")));
    }
    // Only filters choose workers. Where there is no filter, nobody else would remove the client's own field.
    parts.headers.remove(forward::DESTINATION);
    let is_head = parts.method == Method::HEAD;
    let path = parts.uri.into_parts().path_and_query;
    let head = RequestHead {
        method: parts.method,
        path: path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        scheme: connection.scheme.value(),
        headers: parts.headers,
    };
    let mut info = StreamInfo::new(connection, SystemTime::now(), parts.version);
    if let Some(found) = route::find(&thread.blueprint.routes, &head) {
        // What filters read before their own changes; the route is looked up again afterwards.
        info.route = Some(found.name.clone());
        info.cluster = thread
            .clusters
            .get(found.cluster)
            .map(|cluster| cluster.name.clone());
    }
    run(thread, Stream::new(head, info), body, switch, is_head).await
}

/// The way in and the way back. Whatever ends either early becomes the answer: shown to the filters if they have not
/// seen one to this request yet.
async fn run(
    thread: Rc<WorkerThread>,
    stream: Rc<Stream>,
    body: RequestBody,
    switch: Option<Switch>,
    is_head: bool,
) -> Result<Response<ClientBody>, Closed> {
    let exchange = Exchange::new(thread, stream);
    let protocol = switch.as_ref().map(|switch| switch.protocol.clone());
    let (mut ended, mut shown) = match to_worker(&exchange, body, protocol).await {
        Err(ended) => (ended, false),
        Ok(answer) => match from_worker(&exchange, answer, switch, is_head).await {
            Ok(response) => return Ok(response),
            Err(ended) => (ended, true),
        },
    };
    let mut rescued = false;
    let reply = loop {
        let reply = match ended {
            Ended::Closed => return Err(Closed),
            Ended::Replied(reply) => *reply,
            Ended::Failed(failure) => {
                tracing::debug!(%failure, "request failed");
                rescued = true;
                failure.reply()
            }
        };
        if std::mem::replace(&mut shown, true) {
            break reply;
        }
        match local::show(&exchange, reply, is_head).await {
            Ok(reply) => break reply,
            Err(other) => ended = other,
        }
    };
    let counters = &exchange.thread.counters;
    counters.rescued.add(u64::from(rescued));
    Ok(local::response(counters, reply, Some(&exchange), is_head))
}

/// The way in: filters, route, worker.
async fn to_worker(
    exchange: &Rc<Exchange>,
    body: RequestBody,
    protocol: Option<HeaderValue>,
) -> Result<Forwarded, Ended> {
    let empty = body.is_end_stream();
    exchange.request_headers(empty).await?;
    let thread = &exchange.thread;
    let head = exchange
        .stream
        .state()
        .request
        .take()
        .ok_or(Failure::BadMessage)?;
    let route = route::find(&thread.blueprint.routes, &head).ok_or(Failure::NoRoute)?;
    let cluster = thread.clusters.get(route.cluster).ok_or(Failure::NoRoute)?;
    {
        let info = &mut exchange.stream.state().info;
        info.cluster = Some(cluster.name.clone());
        info.route = Some(route.name.clone());
    }
    let filters = if empty {
        Vec::new()
    } else {
        exchange.body_filters()
    };
    let body = if empty {
        Outgoing::Empty
    } else if filters.is_empty() {
        Outgoing::Client(body, exchange.wait.reporter())
    } else {
        let body = Filtered::new(body, Rc::clone(exchange), Direction::Request, filters);
        Outgoing::Made(Box::pin(body))
    };
    forward::forward(exchange, cluster, head, body, protocol).await
}

/// The way back: a worker's answer through the filters.
async fn from_worker(
    exchange: &Rc<Exchange>,
    forwarded: Forwarded,
    switch: Option<Switch>,
    is_head: bool,
) -> Result<Response<ClientBody>, Ended> {
    let Forwarded {
        mut answer,
        worker,
        response_timeout,
    } = forwarded;
    let status = answer.head.status;
    let mut head = ResponseHead {
        status,
        headers: std::mem::take(&mut answer.head.headers),
    };
    let (body, tunnel) = match (status, switch) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(switch)) => {
            let protocol = head.headers.get(UPGRADE).cloned();
            (
                None,
                Some((protocol.unwrap_or(switch.protocol), switch.client, answer)),
            )
        }
        // The client did not ask for it.
        (StatusCode::SWITCHING_PROTOCOLS, None) => return Err(Failure::BadAnswer.into()),
        _ => {
            let (_, mut body) = answer.split();
            std::future::poll_fn(|cx| {
                body.prefetch(cx);
                std::task::Poll::Ready(())
            })
            .await;
            (Some((body, OpenRequest::new(worker))), None)
        }
    };
    hop::strip(&mut head.headers);
    let end = is_head || body.as_ref().is_none_or(|(body, _)| body.is_end_stream());
    {
        let mut state = exchange.stream.state();
        state.info.status = Some(head.status.as_u16());
        state.info.details = Some(via_upstream());
        state.response = Some(head);
    }
    exchange.response_headers(end).await?;
    let head = exchange
        .stream
        .state()
        .response
        .take()
        .ok_or(Failure::BadMessage)?;
    exchange.thread.counters.answered(head.status);
    let body = match body {
        Some((body, open)) => ClientBody::worker(body, open, Rc::clone(exchange), response_timeout),
        None => ClientBody::local(Bytes::new(), None),
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = head.headers;
    if let Some((protocol, client, answer)) = tunnel {
        response.headers_mut().insert(UPGRADE, protocol);
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        tunnel::start(client, answer, Rc::clone(exchange));
    }
    Ok(response)
}

/// What `response.code_details` says about a worker's answer; shared, because every answer needs it.
fn via_upstream() -> Rc<str> {
    thread_local! {
        static TEXT: Rc<str> = Rc::from("via_upstream");
    }
    TEXT.with(Rc::clone)
}
