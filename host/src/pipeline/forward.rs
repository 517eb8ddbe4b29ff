//! Forwarding a request to workers, attempt by attempt, until one answers.
//!
//! A request that was not sent is tried again whatever it is. One that was sent and got no byte of an answer is
//! tried again only if it is idempotent (RFC 9110, section 9.2.2) and had no body. A kept connection that proves
//! stale costs no attempt: the same worker is tried over a fresh one first. Which worker is next is left to
//! `upstream::cluster`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{EXPECT, HeaderMap, HeaderValue, UPGRADE};
use http::{Method, Request, Uri};
use http_body::Body as _;

use super::exchange::{Ended, Exchange};
use crate::balance::plan::Plan;
use crate::message::head::RequestHead;
use crate::message::{forwarded, hop};
use crate::rescue::Failure;
use crate::upstream::answer::Answer;
use crate::upstream::cluster::{Cluster, EJECTED_MS, Worker};
use crate::upstream::error::SendFailure;
use crate::upstream::request::Outgoing;

/// The field in which filters name workers, `x-limpet-destination`.
pub const DESTINATION: http::HeaderName = http::HeaderName::from_static(limpet_wire::names::DESTINATION);

/// A worker's answer, and what the rest of the way needs to know about it.
pub struct Forwarded {
    /// The answer; its body is still to come.
    pub answer: Answer,
    /// Who answered.
    pub worker: Rc<Worker>,
    /// How long the rest of the answer may stand still.
    pub response_timeout: Duration,
}

/// What is needed to send the same request once more.
struct Copy {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// Sends the request that the filters left to a worker of `cluster`.
///
/// # Errors
/// When no worker answered, or a filter ended the request while its body was sent.
pub async fn forward(
    exchange: &Exchange,
    cluster: &Cluster,
    head: RequestHead,
    body: Outgoing,
    upgrade: Option<HeaderValue>,
) -> Result<Forwarded, Ended> {
    let counters = &exchange.thread.counters;
    let (listed, headers) = prepare(exchange, head.headers, upgrade);
    let uri = Uri::from(head.path);
    let copy = (head.method.is_idempotent() && body.is_end_stream()).then(|| Copy {
        method: head.method.clone(),
        uri: uri.clone(),
        headers: headers.clone(),
    });
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;

    let workers = cluster.workers();
    let listed = listed.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let waits = &exchange.thread.waits;
    let mut plan = Plan::default();
    let mut last = Failure::NoWorker;
    for attempt in 1..=cluster.settings.attempts {
        let Some(worker) = workers.next(&mut plan, listed, cluster.settings.balance, waits.now()) else {
            break;
        };
        counters.attempts.add(1);
        if attempt > 1 {
            counters.retries.add(1);
        }
        {
            let info = &mut exchange.stream.state().info;
            info.upstream = Some(Rc::clone(&worker.addr));
            info.attempts = attempt;
        }
        match one(exchange, cluster, worker, request, copy.as_ref()).await {
            Ok(forwarded) => return Ok(forwarded),
            Err(Attempt::Again(failure, unsent)) => {
                last = failure;
                request = *unsent;
            }
            Err(Attempt::Over(ended)) => return Err(ended),
        }
    }
    Err(last.into())
}

/// How an attempt failed.
enum Attempt {
    /// The request is tried at another worker.
    Again(Failure, Box<Request<Outgoing>>),
    /// The request is not tried again.
    Over(Ended),
}

async fn one(
    exchange: &Exchange,
    cluster: &Cluster,
    worker: &Rc<Worker>,
    mut request: Request<Outgoing>,
    copy: Option<&Copy>,
) -> Result<Forwarded, Attempt> {
    let counters = &exchange.thread.counters;
    let mut fresh = false;
    loop {
        let kept = if fresh { None } else { worker.pool.take() };
        let reused = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => match worker.pool.connect().await {
                Ok(connection) => {
                    counters.connects.add(1);
                    worker.ejected_until.set(0);
                    connection
                }
                Err(refused) => {
                    counters.connect_failures.add(1);
                    let now = exchange.thread.waits.now();
                    worker.ejected_until.set(now.saturating_add(EJECTED_MS));
                    return Err(Attempt::Again(refused.into(), Box::new(request)));
                }
            },
        };
        let response_timeout = cluster.settings.response_timeout;
        let sending = worker.pool.send(connection, request);
        let failed = match in_time(exchange, response_timeout, sending).await {
            Some(Ok(answer)) => {
                return Ok(Forwarded {
                    answer,
                    worker: Rc::clone(worker),
                    response_timeout,
                });
            }
            Some(Err(failed)) => failed,
            None => return Err(Attempt::Over(Failure::Timeout.into())),
        };
        let failure = reason(exchange, failed.failure).map_err(Attempt::Over)?;
        let again = failed.unsent.or_else(|| {
            let copy = copy.filter(|_| failure == Failure::Reset)?;
            let mut request = Request::new(Outgoing::Empty);
            *request.method_mut() = copy.method.clone();
            *request.uri_mut() = copy.uri.clone();
            *request.headers_mut() = copy.headers.clone();
            Some(request)
        });
        request = again.ok_or(Attempt::Over(failure.into()))?;
        if !reused {
            return Err(Attempt::Again(failure, Box::new(request)));
        }
        worker.pool.clear();
        fresh = true;
    }
}

/// Waits for `sending` as long as the request's body moves, and then for `limit`. `None` when nothing came.
async fn in_time<F: Future>(exchange: &Exchange, limit: Duration, sending: F) -> Option<F::Output> {
    let wait = &exchange.wait;
    wait.begin(limit);
    let mut sending = pin!(sending);
    let sent = poll_fn(|cx| {
        if wait.is_over(cx.waker()) {
            return Poll::Ready(None);
        }
        sending.as_mut().poll(cx).map(Some)
    })
    .await;
    wait.end();
    sent
}

/// Why sending failed: what a filter did with the body counts before what became of the connection.
fn reason(exchange: &Exchange, failure: SendFailure) -> Result<Failure, Ended> {
    let mut state = exchange.stream.state();
    if state.closed() {
        return Err(Ended::Closed);
    }
    if let Some(reply) = state.reply.take() {
        return Err(Ended::Replied(Box::new(reply)));
    }
    drop(state);
    match exchange.broken.take() {
        Some(broken) => Err(broken.into()),
        None => Ok(failure.into()),
    }
}

/// Removes the fields that end here and adds those of a proxy. Returns the destinations filters listed, too.
fn prepare(
    exchange: &Exchange,
    mut headers: HeaderMap,
    upgrade: Option<HeaderValue>,
) -> (Option<HeaderValue>, HeaderMap) {
    // `remove` returns the first of several lines, which is the one that counts.
    let listed = headers.remove(DESTINATION);
    hop::strip(&mut headers);
    // Answered here: hyper asks the client to go on when the body is first read.
    headers.remove(EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol);
        headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let client = &exchange.stream.state().info.connection;
    forwarded::append(&mut headers, &client.source_ip, client.scheme.value());
    (listed, headers)
}
