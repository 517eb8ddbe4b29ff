//! What all requests of one binder plugin share: configuration, counters, and what the core is still to be told.

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
use crate::reporter::{self, Outcome, Reporter};
use crate::touches::Touches;

/// The most complaints about workers' headers that one VM logs; the counter goes on.
const COMPLAINTS_MAX: u32 = 20;

/// What all requests of one VM share.
pub(crate) struct Binder {
    pub(crate) config: Config,
    pub(crate) reads: Reads,
    pub(crate) counters: Counters,
    reporter: RefCell<Reporter>,
    touches: RefCell<Touches>,
    complaints: Cell<u32>,
}

impl Binder {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            reads: session::reads(&config.session),
            config,
            counters: Counters::define(),
            reporter: RefCell::default(),
            touches: RefCell::default(),
            complaints: Cell::new(0),
        }
    }

    /// Sends the next batch, if there is one; call it from the root.
    pub(crate) fn tick(&self, now: u64) {
        let Some(report) = self.reporter.borrow_mut().next(now) else {
            return;
        };
        let Ok(body) = codec::encode(&report) else {
            let dropped = self.reporter.borrow_mut().drop_batch();
            self.counters.dropped.add(dropped as u64);
            return;
        };
        let path = format!("{REPORT_PATH}?ack=none");
        let timeout = Duration::from_millis(reporter::CALL_MS);
        let token = hostcalls::http_call(CORE_CLUSTER, "POST", &path, Some(&body), timeout);
        if token.is_none() {
            self.counters.reports_failed.increment();
        }
        self.reporter.borrow_mut().called(token, now);
    }

    /// The core answered a batch.
    pub(crate) fn reply(&self, token: u32, status: Option<u16>, now: u64) {
        let counters = &self.counters;
        let outcome = self.reporter.borrow_mut().replied(token, status, now);
        match outcome {
            None => {}
            Some(Outcome::Taken(_)) => {
                counters.reports_sent.increment();
                self.refusals();
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

    pub(crate) fn queue(&self, operation: Operation) {
        let dropped = self.reporter.borrow_mut().push(operation);
        self.counters.dropped.add(dropped as u64);
    }

    pub(crate) fn take_queued(&self, app: &str, id: &str) -> Vec<Operation> {
        self.reporter.borrow_mut().take(app, id)
    }

    pub(crate) fn touch_due(&self, id: &str, now: u64) -> bool {
        self.touches
            .borrow_mut()
            .due(id, now, self.config.touch_interval.0)
    }

    /// Counts the operations that the core, in the reply that is being delivered, says it did not apply.
    pub(crate) fn refusals(&self) {
        let Some(body) = hostcalls::buffer(Buffer::CallResponseBody) else {
            return;
        };
        let Ok(reply) = codec::decode::<Reply>(&body) else {
            return;
        };
        self.counters.refused.add(reply.refused.len() as u64);
        if let Some((_, why)) = reply.refused.first() {
            self.complain(&format!("the core did not apply an operation: {why}"));
        }
    }

    pub(crate) fn complain(&self, what: &str) {
        let said = self.complaints.get();
        if said < COMPLAINTS_MAX {
            self.complaints.set(said + 1);
            hostcalls::log(Level::Warn, what);
        }
    }
}

pub(crate) struct Counters {
    pub(crate) takeovers: Counter,
    pub(crate) deltas: Counter,
    pub(crate) homeless: Counter,
    pub(crate) bad_fields: Counter,
    pub(crate) dropped: Counter,
    pub(crate) refused: Counter,
    pub(crate) reports_sent: Counter,
    pub(crate) reports_failed: Counter,
    pub(crate) reports_refused: Counter,
    pub(crate) acks_held: Counter,
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
            homeless: Counter::define("limpet_binder_deltas_without_session_total"),
            bad_fields: Counter::define("limpet_binder_bad_fields_total"),
            dropped: Counter::define("limpet_binder_operations_dropped_total"),
            refused: Counter::define("limpet_binder_operations_refused_total"),
            reports_sent: reports("sent"),
            reports_failed: reports("failed"),
            reports_refused: reports("refused"),
            acks_held: acks("answered"),
            acks_failed: acks("failed"),
            acks_refused: acks("refused"),
            acks_unreachable: acks("unreachable"),
            acks_abandoned: acks("abandoned"),
        }
    }
}
