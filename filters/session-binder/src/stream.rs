//! The stream context of the binder: one request, given headers about its session for the worker, and its response,
//! handled as [`crate::decide`] says.
//!
//! Host calls for a request of a bound session: 3 (the router's decision, two headers for the worker), and 2 for
//! its response (the headers, the upstream address). One more for each reserved header to remove, for the id before a
//! takeover, and to know that a worker responded where there is something to report; two to know when the request of
//! a delta began; and those that write the cookies of a takeover. Reports no response waits for are sent by [`crate::binder`].

use std::rc::Rc;
use std::time::Duration;

use limpet_filters_common::capture::Snapshot;
use limpet_filters_common::decision::{self, Decision};
use limpet_filters_common::hostcalls::{self, Level, Map};
use limpet_filters_common::pairs::Pairs;
use limpet_filters_common::upstream::Upstream;
use limpet_filters_common::{clock, core_clock, root, session, tables};
use limpet_wire::codec;
use limpet_wire::names::{CORE_CLUSTER, ORIGINAL_SESSION_ID, PRIMARY, REPORT_PATH, SESSION_ID};
use limpet_wire::report::{Operation, Report};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::binder::Binder;
use crate::config::Ack;
use crate::decide::{Actions, Response, respond};

/// The proxy's timeout of a report beyond the core's own, so that the core is the one to give up.
const GRACE: Duration = Duration::from_secs(1);

/// The context of one request.
pub(crate) struct Stream {
    binder: Rc<Binder>,
    decision: Decision,
    held: Option<Held>,
}

/// A response that is paused until the core answers.
struct Held {
    token: u32,
    operations: Vec<Operation>,
}

impl Stream {
    pub(crate) fn new(binder: Rc<Binder>) -> Self {
        Self {
            binder,
            decision: Decision::default(),
            held: None,
        }
    }

    /// Reads the session where no router did: the binder is alone in the chain.
    fn read_request(&self) -> Decision {
        let binder = &self.binder;
        let Some(snapshot) = Snapshot::take(&binder.reads) else {
            return Decision::default();
        };
        let capture = snapshot.capture(&binder.reads);
        capture.remove_reserved();
        let table = tables::current();
        let known = |route: &str| table.as_ref().is_some_and(|it| it.by_route(route).is_some());
        Decision {
            session: session::read(&capture, &binder.config.session, known).session,
            ..Decision::default()
        }
    }

    /// Adds the headers about the session for the worker.
    pub(crate) fn write_request(&mut self, decision: Decision) {
        if let Some(session) = &decision.session {
            let add = |name: &str, value: &str| {
                hostcalls::add_header(Map::RequestHeaders, name.as_bytes(), value.as_bytes())
            };
            add(SESSION_ID, &session.id);
            add(PRIMARY, if decision.primary { "?1" } else { "?0" });
            if let (true, Some(route)) = (decision.moved, &session.route) {
                add(ORIGINAL_SESSION_ID, &format!("{}.{route}", session.id));
            }
        }
        self.decision = decision;
    }

    /// Handles the response headers. [`Action::Pause`]: the response waits for the core.
    pub(crate) fn read_response(&mut self, upstream: &Upstream) -> Action {
        let Some(headers) = hostcalls::header_pairs(Map::ResponseHeaders) else {
            return Action::Continue;
        };
        let table = tables::current();
        let served = table
            .as_ref()
            .and_then(|table| upstream.worker(table))
            .map(|worker| worker.route.as_str());
        let response = Response {
            session: self.decision.session.as_ref(),
            served,
            headers: Pairs::new(&headers),
        };
        let actions = respond(&self.binder.config, &response);
        for name in &actions.remove {
            hostcalls::remove_header(Map::ResponseHeaders, name);
        }
        self.carry_out(actions, upstream)
    }

    fn carry_out(&mut self, actions: Actions, upstream: &Upstream) -> Action {
        let binder = Rc::clone(&self.binder);
        let counters = &binder.counters;
        counters.bad_fields.add(actions.errors.len() as u64);
        if let Some(error) = actions.errors.first() {
            binder.warn(&error.to_string());
        }
        let touch = actions
            .touch
            .filter(|touch| binder.touch_due(&touch.id, clock::now_ms()));
        let reports =
            actions.binding.is_some() || !actions.deltas.is_empty() || actions.takeover || touch.is_some();
        // A local reply of the proxy changes no session.
        if reports && !upstream.responded() {
            return Action::Continue;
        }
        if actions.takeover {
            counters.takeovers.increment();
        }
        if actions.without_session {
            counters.without_session.increment();
        }
        if let Some(cookies) = &actions.cookies {
            hostcalls::remove_header(Map::ResponseHeaders, b"set-cookie");
            for cookie in cookies {
                hostcalls::add_header(Map::ResponseHeaders, b"set-cookie", cookie);
            }
        }
        for operation in actions.binding.into_iter().chain(touch) {
            binder.queue(operation);
        }
        if actions.deltas.is_empty() {
            return Action::Continue;
        }
        counters.deltas.add(actions.deltas.len() as u64);
        let began_ms = core_clock::request_began_ms();
        let deltas = actions.deltas.into_iter();
        let deltas = deltas.map(|delta| Operation { began_ms, ..delta });
        match binder.config.ack {
            Ack::None => {
                deltas.for_each(|delta| binder.queue(delta));
                Action::Continue
            }
            _ => self.hold(deltas.collect()),
        }
    }

    /// Sends a report now and pauses the response for it; the response goes on where the report cannot be sent.
    fn hold(&mut self, deltas: Vec<Operation>) -> Action {
        let binder = Rc::clone(&self.binder);
        let mut operations = Vec::new();
        for delta in &deltas {
            operations.extend(binder.take_queued(&delta.app, &delta.id));
        }
        operations.extend(deltas);
        let report = Report { operations };
        let config = &binder.config;
        let path = format!(
            "{REPORT_PATH}?ack={}&timeout_ms={}",
            config.ack.name(),
            config.ack_timeout.0
        );
        let timeout = Duration::from_millis(config.ack_timeout.0) + GRACE;
        let token = codec::encode(&report)
            .ok()
            .and_then(|body| hostcalls::http_call(CORE_CLUSTER, "POST", &path, Some(&body), timeout));
        match token {
            Some(token) => {
                self.held = Some(Held {
                    token,
                    operations: report.operations,
                });
                Action::Pause
            }
            None => {
                binder.counters.acks_unreachable.increment();
                report
                    .operations
                    .into_iter()
                    .for_each(|operation| binder.queue(operation));
                Action::Continue
            }
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let routed = hostcalls::property(decision::PROPERTY).and_then(|bytes| Decision::decode(&bytes));
        let decision = routed.unwrap_or_else(|| self.read_request());
        self.write_request(decision);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.read_response(&Upstream::read())
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, _: usize, _: usize) {
        let Some(held) = self.held.take_if(|held| held.token == token) else {
            return;
        };
        let counters = &self.binder.counters;
        match root::call_status(num_headers) {
            Some(200..=299) => {
                counters.acks_answered.increment();
                self.binder.count_refused();
            }
            Some(status @ 400..=499) => {
                counters.acks_refused.increment();
                hostcalls::log(
                    Level::Warn,
                    &format!("the core refused a report with {status}; it is dropped"),
                );
            }
            _ => {
                counters.acks_failed.increment();
                held.operations
                    .into_iter()
                    .for_each(|operation| self.binder.queue(operation));
            }
        }
        // The last call on every path: the proxy may end the stream in it.
        hostcalls::resume_response();
    }
}

impl Drop for Stream {
    /// The client left while its response was paused. The core's reply will not be delivered, so the delta is queued,
    /// and may reach the core twice.
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.binder.counters.acks_abandoned.increment();
            held.operations
                .into_iter()
                .for_each(|operation| self.binder.queue(operation));
        }
    }
}
