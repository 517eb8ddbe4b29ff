//! What happens, as it happens: server-sent events (WHATWG HTML, section 9.2).
//!
//! Events are not stored. Whoever comes back with `Last-Event-ID`, or takes them too slowly, is told that it missed
//! some and goes on with what happens now; what is true then it reads from the rest of the API.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::reply::{ApiError, Reply, stream};
use super::route::{Context, only, query};
use super::sessions::version;
use crate::drivers::node::EventReceiver;
use crate::engine::events::{Event, Kind, MemberEvent, SessionChange, SessionEvent, WorkerEvent};

/// How often a listener that has nothing to hear hears that.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client is asked to wait before it connects again.
const RETRY_MS: u64 = 1000;
/// How many bytes of events that wait are sent as one chunk.
const CHUNK_BYTES: usize = 64 << 10;

/// Answers with events until the caller goes away.
pub(super) fn listen<B>(context: &Context, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["kind", "app", "replicated"])?;
    let wanted = Wanted {
        kinds: list(request, "kind")
            .into_iter()
            .map(|kind| match kind.as_str() {
                "session" | "member" | "worker" => Ok(kind),
                _ => Err(ApiError::Bad(
                    "kind: session, member or worker is expected".into(),
                )),
            })
            .collect::<Result<_, _>>()?,
        apps: list(request, "app"),
        replicated: match query(request, "replicated").as_deref() {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(ApiError::Bad("replicated: true or false is expected".into())),
        },
    };
    let (next, events) = context.node.listen().ok_or(ApiError::TooManyListeners)?;
    let mut opening = format!("retry: {RETRY_MS}\n: listening\n\n");
    if request.headers().contains_key("last-event-id") {
        opening.push_str("event: lagged\ndata: {\"missed\":null}\n\n");
    }
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.reset();
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        run: context.node.table_versions().borrow().epoch,
        wanted,
        next,
        events,
        heartbeat,
        opening,
    };
    let step = Box::pin(listener.step());
    Ok(stream("text/event-stream", EventStream { step }))
}

fn list<B>(request: &Request<B>, name: &str) -> Vec<String> {
    let text = query(request, name).unwrap_or_default();
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(ToOwned::to_owned).collect()
}

/// What a listener asked for.
struct Wanted {
    /// Empty: all.
    kinds: Vec<String>,
    /// Empty: all.
    apps: Vec<String>,
    replicated: bool,
}

impl Wanted {
    fn has(&self, kind: &Kind) -> bool {
        let of_app = match kind {
            Kind::Session(event) => {
                (self.replicated || !event.replicated)
                    && (self.apps.is_empty() || self.apps.iter().any(|app| **app == *event.key.app()))
            }
            Kind::Member(_) | Kind::Worker(_) => true,
        };
        of_app && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == name(kind)))
    }
}

/// Somebody who listens.
struct Listener {
    /// Tells this run's numbers from those of another.
    run: u64,
    wanted: Wanted,
    /// The number of the next event, if none is missed.
    next: u64,
    events: EventReceiver,
    heartbeat: Interval,
    opening: String,
}

impl Listener {
    /// Waits for something to send; `None` when nothing can follow.
    async fn step(mut self) -> Option<(Bytes, Self)> {
        let mut text = std::mem::take(&mut self.opening);
        while text.is_empty() {
            tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => self.write(&mut text, &event),
                    Err(RecvError::Lagged(_)) => {} // the next number tells how many
                    Err(RecvError::Closed) => return None,
                },
                _ = self.heartbeat.tick() => text.push_str(":\n\n"),
            }
        }
        while text.len() < CHUNK_BYTES
            && let Ok(event) = self.events.try_recv()
        {
            self.write(&mut text, &event);
        }
        Some((text.into(), self))
    }

    fn write(&mut self, text: &mut String, event: &Arc<Event>) {
        let missed = event.number.saturating_sub(self.next);
        if missed > 0 {
            let _ = write!(text, "event: lagged\ndata: {{\"missed\":{missed}}}\n\n"); // a string takes it
        }
        self.next = event.number + 1;
        if self.wanted.has(&event.kind) {
            let (name, data) = (name(&event.kind), data(&event.kind));
            let (run, number) = (self.run, event.number);
            let _ = write!(text, "event: {name}\nid: {run}-{number}\ndata: {data}\n\n"); // a string takes it
        }
    }
}

const fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Session(_) => "session",
        Kind::Member(_) => "member",
        Kind::Worker(_) => "worker",
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
    let names = |names: &[Arc<str>]| names.iter().map(|name| Value::from(&**name)).collect::<Value>();
    let (change, more) = match &event.change {
        SessionChange::Created => ("created", None),
        SessionChange::Revived => ("revived", None),
        SessionChange::Changed { set, removed, more } => (
            "changed",
            Some(json!({ "set": names(set), "removed": names(removed), "more": more })),
        ),
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
        "version": version(event.version),
        "origin": if event.replicated { "replicated" } else { "local" },
    });
    if let (Some(shown), Some(Value::Object(more))) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}

type Step = dyn Future<Output = Option<(Bytes, Listener)>> + Send;

/// What a listener has not heard yet and what will happen, as a body without an end. Dropped when the caller goes
/// away, and the listener with it.
pub(super) struct EventStream {
    step: Pin<Box<Step>>,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let step = ready!(self.step.as_mut().poll(poller));
        Poll::Ready(step.map(|(bytes, listener)| {
            self.step = Box::pin(listener.step());
            Ok(Frame::data(bytes))
        }))
    }
}
