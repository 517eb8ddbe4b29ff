//! The order of it all: one request in, one answer out.

use std::rc::Rc;
use std::time::SystemTime;

use http::header::{HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use super::answer::ClientBody;
use super::body::Filtered;
use super::exchange::{Ended, Exchange};
use super::forward::{self, Answer};
use super::lane::Lane;
use super::tunnel;
use crate::client::Connection;
use crate::message::head::{RequestHead, ResponseHead};
use crate::message::{forwarded, framing, hop};
use crate::rescue::Failure;
use crate::route;
use crate::upstream::body::{Outgoing, WorkerBody};
use crate::wasm::abi::numbers::Direction;
use crate::wasm::stream::{Facts, LocalReply, Stream};

/// The connection is closed without an answer, because a filter said so.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("closed by a filter")]
pub struct Closed;

/// A client that may leave HTTP, and what for.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// Answers `request`.
///
/// # Errors
/// [`Closed`]; everything else is an answer.
pub async fn serve(
    lane: Rc<Lane>,
    connection: Rc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<ClientBody>, Closed> {
    lane.counters.requests.add(1);
    let upgrade = hop::upgrade(request.headers()).map(|protocol| Upgrade {
        protocol,
        client: hyper::upgrade::on(&mut request),
    });
    let (mut parts, incoming) = request.into_parts();
    if let Err(error) = framing::check(&parts.method, &parts.uri, parts.version, &mut parts.headers) {
        lane.counters.rescued.add(1);
        let mut response = local(&lane, Failure::Framing(error).reply(), None, None);
        // Nobody knows where the next request would begin.
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    let facts = Facts {
        connection: Rc::clone(&connection),
        started: SystemTime::now(),
        version: parts.version,
        cluster: None,
        route: None,
        upstream: None,
        attempts: 0,
        status: None,
        details: None,
        sizes: [0; 2],
    };
    if !parts.headers.contains_key(HOST) {
        // An HTTP/1.0 client; the worker, asked in HTTP/1.1, wants one.
        let host = HeaderValue::from_str(&connection.destination_text);
        parts
            .headers
            .insert(HOST, host.unwrap_or_else(|_| HeaderValue::from_static("")));
    }
    // Only filters choose workers; without any, nobody else would remove it.
    parts.headers.remove(forward::DESTINATION);
    let is_head = parts.method == Method::HEAD;
    let scheme = match parts.headers.get(forwarded::PROTO) {
        Some(scheme) if scheme == "https" => HeaderValue::from_static("https"),
        _ => HeaderValue::from_static("http"),
    };
    let path = parts.uri.into_parts().path_and_query;
    let head = RequestHead {
        method: parts.method,
        path: path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        scheme,
        headers: parts.headers,
    };
    if let Some(found) = route::find(&lane.config.routes, &head) {
        // What filters read before their own changes; the route is looked up again afterwards.
        let cluster = lane
            .clusters
            .get(found.cluster)
            .map(|cluster| cluster.name.clone());
        let stream = Stream::new(
            head,
            Facts {
                route: Some(found.name.clone()),
                cluster,
                ..facts
            },
        );
        run(lane.clone(), stream, incoming, upgrade, is_head).await
    } else {
        let stream = Stream::new(head, facts);
        run(lane, stream, incoming, upgrade, is_head).await
    }
}

async fn run(
    lane: Rc<Lane>,
    stream: Rc<Stream>,
    incoming: Incoming,
    upgrade: Option<Upgrade>,
    is_head: bool,
) -> Result<Response<ClientBody>, Closed> {
    let exchange = Exchange::new(lane, stream);
    let protocol = upgrade.as_ref().map(|upgrade| upgrade.protocol.clone());
    let ended = match to_worker(&exchange, incoming, protocol).await {
        Ok(answer) => match from_worker(&exchange, answer, upgrade, is_head).await {
            Ok(response) => return Ok(response),
            // The filters have seen this answer; what replaces it is not shown again.
            Err(Ended::Replied(reply)) => {
                return Ok(local(&exchange.lane, *reply, Some(&exchange), Some(is_head)));
            }
            Err(Ended::Failed(failure)) => {
                exchange.lane.counters.rescued.add(1);
                return Ok(local(
                    &exchange.lane,
                    failure.reply(),
                    Some(&exchange),
                    Some(is_head),
                ));
            }
            Err(Ended::Closed) => return Err(Closed),
        },
        Err(ended) => ended,
    };
    let reply = match ended {
        Ended::Closed => return Err(Closed),
        Ended::Replied(reply) => *reply,
        Ended::Failed(failure) => {
            tracing::debug!(%failure, "request failed");
            exchange.lane.counters.rescued.add(1);
            failure.reply()
        }
    };
    match show(&exchange, reply, is_head).await {
        Ok(reply) => Ok(local(&exchange.lane, reply, Some(&exchange), Some(is_head))),
        Err(Ended::Replied(reply)) => Ok(local(&exchange.lane, *reply, Some(&exchange), Some(is_head))),
        Err(Ended::Failed(failure)) => Ok(local(
            &exchange.lane,
            failure.reply(),
            Some(&exchange),
            Some(is_head),
        )),
        Err(Ended::Closed) => Err(Closed),
    }
}

/// The way in: filters, route, worker.
async fn to_worker(
    exchange: &Rc<Exchange>,
    incoming: Incoming,
    upgrade: Option<HeaderValue>,
) -> Result<Answer, Ended> {
    let empty = incoming.is_end_stream();
    exchange.request_headers(empty).await?;
    let lane = &exchange.lane;
    let head = exchange
        .stream
        .state()
        .request
        .take()
        .ok_or(Failure::BadMessage)?;
    let route = route::find(&lane.config.routes, &head).ok_or(Failure::NoRoute)?;
    let cluster = lane.clusters.get(route.cluster).ok_or(Failure::NoRoute)?;
    {
        let facts = &mut exchange.stream.state().facts;
        facts.cluster = Some(cluster.name.clone());
        facts.route = Some(route.name.clone());
    }
    let filters = if empty {
        Vec::new()
    } else {
        exchange.body_filters()
    };
    let body = if empty {
        Outgoing::Empty
    } else if filters.is_empty() {
        let client = Rc::clone(&exchange.stream.state().facts.connection);
        Outgoing::Client(incoming, client)
    } else {
        let body = Filtered::new(incoming, Rc::clone(exchange), Direction::Request, filters);
        Outgoing::Made(Box::pin(body))
    };
    forward::forward(exchange, cluster, head, body, upgrade).await
}

/// The way back: a worker's answer through the filters.
async fn from_worker(
    exchange: &Rc<Exchange>,
    answer: Answer,
    upgrade: Option<Upgrade>,
    is_head: bool,
) -> Result<Response<ClientBody>, Ended> {
    let Answer {
        mut response,
        connection,
        host,
        patience,
    } = answer;
    let switched = match (response.status(), upgrade) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(upgrade)) => {
            let protocol = response
                .headers()
                .get(UPGRADE)
                .cloned()
                .unwrap_or_else(|| upgrade.protocol.clone());
            Some((protocol, upgrade.client, hyper::upgrade::on(&mut response)))
        }
        // Nobody asked for it.
        (StatusCode::SWITCHING_PROTOCOLS, None) => return Err(Failure::BadAnswer.into()),
        _ => None,
    };
    let (parts, incoming) = response.into_parts();
    let mut head = ResponseHead {
        status: parts.status,
        headers: parts.headers,
    };
    hop::strip(&mut head.headers);
    let (body, connection) = if switched.is_some() {
        (None, Some(connection))
    } else {
        let pool = Rc::clone(&host.pool);
        let mut body = WorkerBody::new(incoming, connection, pool, Some(host));
        std::future::poll_fn(|cx| {
            body.prefetch(cx);
            std::task::Poll::Ready(())
        })
        .await;
        (Some(body), None)
    };
    let end = is_head || body.as_ref().is_none_or(|body| body.is_end_stream());
    {
        let mut state = exchange.stream.state();
        state.facts.status = Some(head.status.as_u16());
        state.facts.details = Some(via_upstream());
        state.response = Some(head);
    }
    exchange.response_headers(end).await?;
    let head = exchange
        .stream
        .state()
        .response
        .take()
        .ok_or(Failure::BadMessage)?;
    exchange.lane.counters.answered(head.status);
    let body = match body {
        Some(body) => ClientBody::worker(body, Rc::clone(exchange), patience),
        None => ClientBody::local(bytes::Bytes::new(), None),
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = head.headers;
    if let (Some((protocol, client, worker)), Some(connection)) = (switched, connection) {
        response.headers_mut().insert(UPGRADE, protocol);
        response
            .headers_mut()
            .insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        tunnel::start(client, worker, connection, Rc::clone(exchange));
    }
    Ok(response)
}

/// Shows an answer of our own to the filters that saw the request.
async fn show(exchange: &Exchange, reply: LocalReply, is_head: bool) -> Result<LocalReply, Ended> {
    {
        let mut state = exchange.stream.state();
        state.request = None;
        state.facts.status = Some(reply.head.status.as_u16());
        state.facts.details = Some(Rc::clone(&reply.details));
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

/// An answer of our own, with a length that is true.
fn local(
    lane: &Lane,
    mut reply: LocalReply,
    exchange: Option<&Rc<Exchange>>,
    is_head: Option<bool>,
) -> Response<ClientBody> {
    hop::strip(&mut reply.head.headers);
    let status = reply.head.status;
    lane.counters.answered(status);
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    reply.head.headers.remove(http::header::CONTENT_LENGTH);
    if !bodiless {
        reply
            .head
            .headers
            .insert(http::header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    if let Some(exchange) = exchange {
        let mut state = exchange.stream.state();
        state.facts.status = Some(status.as_u16());
        state.facts.details = Some(reply.details);
    }
    let body = if bodiless || is_head == Some(true) {
        bytes::Bytes::new()
    } else {
        reply.body
    };
    let mut response = Response::new(ClientBody::local(body, exchange.cloned()));
    *response.status_mut() = status;
    *response.headers_mut() = reply.head.headers;
    response
}

/// What `response.code_details` says about a worker's answer; shared, because every answer needs it.
fn via_upstream() -> Rc<str> {
    thread_local! {
        static TEXT: Rc<str> = Rc::from("via_upstream");
    }
    TEXT.with(Rc::clone)
}
