//! What happens, as server-sent events (WHATWG HTML, section 9.2), each with one line of JSON.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::error::ApiError;
use super::reply::{Reply, stream};
use super::request::{only, query_as, query_list};
use crate::service::events::{
    Class, EventFilter, Kind, Listener, MemberEvent, Notice, SessionChange, SessionEvent, WorkerEvent,
};
use crate::service::{Service, Version};

/// How often a comment is sent to a listener that there is nothing else for.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client is asked to wait before it connects again.
const RETRY_MS: u64 = 1000;
/// How many bytes of events that wait are sent as one chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// `GET /v1/events`: answers with events until the caller goes away.
pub(super) fn listen<B>(service: &Service, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["kind", "app", "replicated"])?;
    let class = |name: String| {
        Class::parse(&name).ok_or_else(|| ApiError::Bad("kind: session, member or worker is expected".into()))
    };
    let replicated = query_as(request, "replicated", "true or false", |text| text.parse().ok())?;
    let filter = EventFilter {
        classes: query_list(request, "kind")
            .into_iter()
            .map(class)
            .collect::<Result<_, _>>()?,
        apps: query_list(request, "app"),
        replicated: replicated.unwrap_or(true),
    };
    let listener = service.listen(filter)?;
    let mut opening = format!("retry: {RETRY_MS}\n: listening\n\n");
    if request.headers().contains_key("last-event-id") {
        opening.push_str("event: lagged\ndata: {\"missed\":null}\n\n");
    }
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.reset();
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let writer = Writer {
        listener,
        heartbeat,
        opening,
    };
    let step = Box::pin(writer.step());
    Ok(stream("text/event-stream", EventStream { step }))
}

/// One listener's side of the connection.
struct Writer {
    listener: Listener,
    heartbeat: Interval,
    opening: String,
}

impl Writer {
    /// Waits for something to send; `None` when nothing can follow.
    async fn step(mut self) -> Option<(Bytes, Self)> {
        let mut text = std::mem::take(&mut self.opening);
        if text.is_empty() {
            tokio::select! {
                notice = self.listener.next() => self.write(&mut text, &notice?),
                _ = self.heartbeat.tick() => text.push_str(":\n\n"),
            }
        }
        while text.len() < CHUNK_BYTES
            && let Some(notice) = self.listener.try_next()
        {
            self.write(&mut text, &notice);
        }
        Some((text.into(), self))
    }

    fn write(&self, text: &mut String, notice: &Notice) {
        let _ = match notice {
            Notice::Missed(missed) => write!(text, "event: lagged\ndata: {{\"missed\":{missed}}}\n\n"),
            Notice::Event(event) => {
                let (name, data) = (Class::of(&event.kind).name(), data(&event.kind));
                let (epoch, number) = (self.listener.epoch, event.number);
                write!(text, "event: {name}\nid: {epoch}-{number}\ndata: {data}\n\n")
            }
        }; // writing to a string cannot fail
    }
}

/// One line of JSON.
fn data(kind: &Kind) -> Value {
    match kind {
        Kind::Session(event) => session(event),
        Kind::Member(MemberEvent {
            node,
            addr,
            change,
            own,
        }) => json!({ "id": node.as_str(), "addr": addr, "change": change.name(), "self": own }),
        Kind::Worker(WorkerEvent {
            route,
            node,
            status,
            before,
        }) => json!({
            "route": route,
            "node": node,
            "status": status.map(|status| status.name()),
            "before": before.map(|status| status.name()),
        }),
    }
}

fn session(event: &SessionEvent) -> Value {
    let (change, more) = match &event.change {
        SessionChange::Created => ("created", None),
        SessionChange::Revived => ("revived", None),
        SessionChange::Changed { set, removed, more } => {
            let names = |names: &[std::sync::Arc<str>]| -> Value {
                names.iter().map(|name| Value::from(&**name)).collect()
            };
            let more = json!({ "set": names(set), "removed": names(removed), "more": more });
            ("changed", Some(more))
        }
        SessionChange::Rebound { from } => ("rebound", Some(json!({ "from": from.as_deref() }))),
        SessionChange::Renamed { from } => ("renamed", Some(json!({ "from": &**from }))),
        SessionChange::Expired => ("expired", None),
        SessionChange::Deleted => ("deleted", None),
    };
    let mut shown = json!({
        "app": event.key.app(),
        "id": event.key.id(),
        "change": change,
        "route": event.route.as_deref(),
        "version": Version::from(event.version).to_string(),
        "origin": if event.replicated { "replicated" } else { "local" },
    });
    if let (Some(shown), Some(Value::Object(more))) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}

type Step = dyn Future<Output = Option<(Bytes, Writer)>> + Send;

/// A body without an end. Dropped when the caller goes away, and the listener with it.
struct EventStream {
    step: Pin<Box<Step>>,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let step = ready!(self.step.as_mut().poll(poller));
        Poll::Ready(step.map(|(bytes, writer)| {
            self.step = Box::pin(writer.step());
            Ok(Frame::data(bytes))
        }))
    }
}
