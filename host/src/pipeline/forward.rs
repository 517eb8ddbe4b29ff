//! Attempts, until a worker answers.
//!
//! A request that was not sent is tried again whatever it is. One that was sent and got no byte of an answer is
//! tried again only if it is idempotent (RFC 9110, section 9.2.2) and had no body. A kept connection that proves
//! stale costs no attempt: the same worker gets a fresh one first.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{EXPECT, HeaderMap, HeaderValue, UPGRADE};
use http::{Method, Request, Uri};
use hyper::body::{Body as _, Incoming};

use super::exchange::{Ended, Exchange};
use crate::balance::plan::Plan;
use crate::message::head::RequestHead;
use crate::message::{forwarded, hop};
use crate::rescue::Failure;
use crate::upstream::body::Outgoing;
use crate::upstream::cluster::{Cluster, Host, SPARED_MS};
use crate::upstream::connection::{Connection, SendError};

/// The field in which filters name workers, `x-limpet-destination`.
pub const DESTINATION: http::HeaderName = http::HeaderName::from_static(limpet_wire::names::DESTINATION);

/// A worker's answer, its body still to come.
pub struct Answer {
    /// The head, and hyper's end of the body.
    pub response: http::Response<Incoming>,
    /// What must be driven for the body to come.
    pub connection: Connection,
    /// Who answered.
    pub host: Rc<Host>,
    /// How long the rest of the answer may not move.
    pub patience: Duration,
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
) -> Result<Answer, Ended> {
    let counters = &exchange.lane.counters;
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

    let hosts = cluster.hosts();
    let listed = listed.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let client = Rc::clone(&exchange.stream.state().facts.connection);
    let mut plan = Plan::default();
    let mut last = Failure::NoWorker;
    for attempt in 1..=cluster.config.attempts {
        let Some(host) = hosts.next(&mut plan, listed, cluster.config.balance, client.now()) else {
            break;
        };
        counters.attempts.add(1);
        if attempt > 1 {
            counters.retries.add(1);
        }
        {
            let facts = &mut exchange.stream.state().facts;
            facts.upstream = Some(Rc::clone(&host.addr));
            facts.attempts = attempt;
        }
        match one(exchange, cluster, host, request, copy.as_ref()).await {
            Ok(answer) => return Ok(answer),
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
    /// Another worker may get the request.
    Again(Failure, Box<Request<Outgoing>>),
    /// Nobody may.
    Over(Ended),
}

async fn one(
    exchange: &Exchange,
    cluster: &Cluster,
    host: &Rc<Host>,
    mut request: Request<Outgoing>,
    copy: Option<&Copy>,
) -> Result<Answer, Attempt> {
    let counters = &exchange.lane.counters;
    let mut fresh = false;
    loop {
        let kept = if fresh { None } else { host.pool.take() };
        let reused = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => match host.pool.connect().await {
                Ok(connection) => {
                    counters.connects.add(1);
                    host.spared_until.set(0);
                    connection
                }
                Err(failure) => {
                    counters.connect_failures.add(1);
                    let now = exchange.stream.state().facts.connection.now();
                    host.spared_until.set(now.saturating_add(SPARED_MS));
                    return Err(Attempt::Again(failure, Box::new(request)));
                }
            },
        };
        let patience = cluster.config.response_timeout;
        let failed = match in_time(exchange, patience, connection.send(request)).await {
            Some(Ok(response)) => {
                return Ok(Answer {
                    response,
                    connection,
                    host: Rc::clone(host),
                    patience,
                });
            }
            Some(Err(failed)) => failed,
            None => return Err(Attempt::Over(Failure::Timeout.into())),
        };
        let failure = reason(exchange, &failed).map_err(Attempt::Over)?;
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
        host.pool.clear();
        fresh = true;
    }
}

/// Waits for `sending` as long as the body moves, and then for `patience`. `None` when nothing came.
async fn in_time<F: Future>(exchange: &Exchange, patience: Duration, sending: F) -> Option<F::Output> {
    let client = Rc::clone(&exchange.stream.state().facts.connection);
    client.begin_wait(patience);
    let mut sending = pin!(sending);
    let sent = poll_fn(|cx| {
        if client.wait.is_over() {
            return Poll::Ready(None);
        }
        sending.as_mut().poll(cx).map(Some)
    });
    let sent = sent.await;
    client.wait.end();
    sent
}

/// Why sending failed: what a filter did with the body counts before what became of the connection.
fn reason(exchange: &Exchange, failed: &SendError) -> Result<Failure, Ended> {
    let mut state = exchange.stream.state();
    if state.closed() {
        return Err(Ended::Closed);
    }
    if let Some(reply) = state.reply.take() {
        return Err(Ended::Replied(Box::new(reply)));
    }
    drop(state);
    if let Some(failure) = exchange.broken.take() {
        return Err(failure.into());
    }
    Ok(if failed.error.is_parse() {
        Failure::BadAnswer
    } else if failed.error.is_user() {
        Failure::BadMessage
    } else {
        Failure::Reset
    })
}

/// Takes out what the worker shall not see, and adds what it shall. Returns the listed destinations too.
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
    let facts = &exchange.stream.state().facts;
    forwarded::append(&mut headers, &facts.connection.source_ip);
    (listed, headers)
}
