//! The shared state of one binder plugin: configuration, counters, report queue and touches.
//!
//! One for all requests of a VM. It sends the queued reports at ticks; reports that a response waits for are sent by
//! [`crate::stream`].

use std::cell::{Cell, RefCell};
use std::time::Duration;

use limpet_filters_common::capture::Reads;
use limpet_filters_common::hostcalls::{self, Buffer, Level};
use limpet_filters_common::metrics::Counter;
use limpet_filters_common::session;
use limpet_wire::codec;
use limpet_wire::names::{CORE_CLUSTER, REPORT_PATH};
use limpet_wire::report::{Operation, Reply};

use crate::config::Config;
use crate::report_queue::{self, Outcome, ReportQueue};
use crate::touches::Touches;

/// The most warnings about fields and operations that one VM logs; the counters go on.
const WARNINGS_MAX: u32 = 20;

/// A configured binder.
pub(crate) struct Binder {
    pub(crate) config: Config,
    pub(crate) reads: Reads,
    pub(crate) counters: Counters,
    reports: RefCell<ReportQueue>,
    touches: RefCell<Touches>,
    warnings: Cell<u32>,
}

impl Binder {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            reads: session::reads(&config.session),
            config,
            counters: Counters::define(),
            reports: RefCell::default(),
            touches: RefCell::default(),
            warnings: Cell::new(0),
        }
    }

    /// Sends the next batch of reports, if one is due; call it from the root context, which gets the reply.
    pub(crate) fn tick(&self, now: u64) {
        let Some(report) = self.reports.borrow_mut().next(now) else {
            return;
        };
        let Ok(body) = codec::encode(&report) else {
            let dropped = self.reports.borrow_mut().drop_batch();
            self.counters.dropped.add(dropped as u64);
            return;
        };
        let path = format!("{REPORT_PATH}?ack=none");
        let timeout = Duration::from_millis(report_queue::REPORT_TIMEOUT_MS);
        let token = hostcalls::http_call(CORE_CLUSTER, "POST", &path, Some(&body), timeout);
        if token.is_none() {
            self.counters.reports_failed.increment();
        }
        self.reports.borrow_mut().on_sent(token, now);
    }

    /// The reply to a call of the root context.
    pub(crate) fn on_reply(&self, token: u32, status: Option<u16>, now: u64) {
        let counters = &self.counters;
        let outcome = self.reports.borrow_mut().on_reply(token, status, now);
        match outcome {
            None => {}
            Some(Outcome::Accepted) => {
                counters.reports_sent.increment();
                self.count_refused();
            }
            Some(Outcome::Refused(count)) => {
                counters.reports_refused.increment();
                counters.dropped.add(count as u64);
                let status = status.unwrap_or(0);
                hostcalls::log(
                    Level::Warn,
                    &format!("the core refused a report with {status}: {count} operations lost"),
                );
            }
            Some(Outcome::Retry) => counters.reports_failed.increment(),
        }
    }

    /// Queues an operation for the next report.
    pub(crate) fn queue(&self, operation: Operation) {
        let dropped = self.reports.borrow_mut().push(operation);
        self.counters.dropped.add(dropped as u64);
    }

    /// Removes the queued operations of one session.
    pub(crate) fn take_queued(&self, app: &str, id: &str) -> Vec<Operation> {
        self.reports.borrow_mut().take(app, id)
    }

    /// Whether a touch of the session `id` is to be reported at `now`.
    pub(crate) fn touch_due(&self, id: &str, now: u64) -> bool {
        self.touches
            .borrow_mut()
            .due(id, now, self.config.touch_interval.0)
    }

    /// Counts the operations that were not applied, according to the reply that is being delivered.
    pub(crate) fn count_refused(&self) {
        let Some(body) = hostcalls::buffer(Buffer::CallResponseBody) else {
            return;
        };
        let Ok(reply) = codec::decode::<Reply>(&body) else {
            return;
        };
        self.counters.refused.add(reply.refused.len() as u64);
        if let Some((_, why)) = reply.refused.first() {
            self.warn(&format!("the core did not apply an operation: {why}"));
        }
    }

    /// Logs a warning, at most [`WARNINGS_MAX`] times.
    pub(crate) fn warn(&self, message: &str) {
        let logged = self.warnings.get();
        if logged < WARNINGS_MAX {
            self.warnings.set(logged + 1);
            hostcalls::log(Level::Warn, message);
        }
    }
}

pub(crate) struct Counters {
    pub(crate) takeovers: Counter,
    pub(crate) deltas: Counter,
    pub(crate) without_session: Counter,
    pub(crate) bad_fields: Counter,
    pub(crate) dropped: Counter,
    pub(crate) refused: Counter,
    pub(crate) reports_sent: Counter,
    pub(crate) reports_failed: Counter,
    pub(crate) reports_refused: Counter,
    pub(crate) acks_answered: Counter,
    pub(crate) acks_failed: Counter,
    pub(crate) acks_refused: Counter,
    pub(crate) acks_unreachable: Counter,
    pub(crate) acks_abandoned: Counter,
}

impl Counters {
    fn define() -> Self {
        let reports =
            |result| Counter::define(&format!("limpet_binder_reports_total{{result=\"{result}\"}}"));
        let acks = |result| Counter::define(&format!("limpet_binder_acks_total{{result=\"{result}\"}}"));
        Self {
            takeovers: Counter::define("limpet_binder_takeovers_total"),
            deltas: Counter::define("limpet_binder_deltas_total"),
            without_session: Counter::define("limpet_binder_deltas_without_session_total"),
            bad_fields: Counter::define("limpet_binder_bad_fields_total"),
            dropped: Counter::define("limpet_binder_operations_dropped_total"),
            refused: Counter::define("limpet_binder_operations_refused_total"),
            reports_sent: reports("sent"),
            reports_failed: reports("failed"),
            reports_refused: reports("refused"),
            acks_answered: acks("answered"),
            acks_failed: acks("failed"),
            acks_refused: acks("refused"),
            acks_unreachable: acks("unreachable"),
            acks_abandoned: acks("abandoned"),
        }
    }
}
