//! The session binder: keeps a session's cookie, its worker and its core of one mind.
//!
//! ```text
//! request  ──► limpet-session-id, limpet-primary, limpet-original-session-id ──► worker
//! response ◄── cookie with the new route after a takeover ◄── limpet-session-* ── worker
//!                                     └──► core: binding, touches (never held); deltas (held where `ack` says so)
//! ```
//! [`decide`] is what a response means, [`reporter`] what the core is still to be told; both without a proxy. This
//! module also contains the router, so that both filters can live in one VM: the plugin's `root_id` chooses.

pub mod config;
pub mod decide;
pub mod reporter;
mod stream;
pub mod touches;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use limpet_filters_common::config::ConfigError;
use limpet_filters_common::hostcalls::{self, Buffer, Level};
use limpet_filters_common::metrics::Counter;
use limpet_filters_common::root::Plugin;
use limpet_wire::codec;
use limpet_wire::names::{CORE_CLUSTER, REPORT_PATH};
use limpet_wire::report::{Operation, Reply};
use proxy_wasm::traits::HttpContext;

use crate::config::Config;
use crate::reporter::{Outcome, Reporter};
use crate::stream::Stream;
use crate::touches::Touches;

/// The plugin's root id.
pub const ROOT_ID: &str = "session_binder";

/// The most complaints about workers' headers that one VM logs; the counter goes on.
const COMPLAINTS_MAX: u32 = 20;

/// The router's module defines where the host enters; this runs before that, with the other initialisers, so that
/// this file's own plugin is the binder.
#[cfg(target_arch = "wasm32")]
#[used]
// SAFETY: the section holds pointers to functions without arguments, which the runtime's initialiser calls once.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = {
    extern "C" fn register() {
        limpet_filters_common::root::register(ROOT_ID, build);
    }
    register
};

/// Makes the plugin.
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "registered in the module only")
)]
fn build(configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
    let config = Config::read(configuration)?;
    let binder = Binder {
        config,
        counters: Counters::define(),
        reporter: RefCell::default(),
        touches: RefCell::default(),
        complaints: Cell::new(0),
    };
    Ok(Box::new(BinderPlugin(Rc::new(binder))))
}

struct BinderPlugin(Rc<Binder>);

impl Plugin for BinderPlugin {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Stream::new(Rc::clone(&self.0)))
    }

    fn tick(&mut self, now: u64) {
        let Some(report) = self.0.reporter.borrow_mut().next(now) else {
            return;
        };
        let Ok(body) = codec::encode(&report) else {
            let dropped = self.0.reporter.borrow_mut().drop_batch();
            self.0.counters.dropped.add(dropped as u64);
            return;
        };
        let path = format!("{REPORT_PATH}?ack=none");
        let timeout = Duration::from_millis(reporter::CALL_MS);
        let token = hostcalls::http_call(CORE_CLUSTER, "POST", &path, Some(&body), timeout);
        if token.is_none() {
            self.0.counters.reports_failed.increment();
        }
        self.0.reporter.borrow_mut().called(token, now);
    }

    fn reply(&mut self, token: u32, status: Option<u16>, now: u64) {
        let counters = &self.0.counters;
        let outcome = self.0.reporter.borrow_mut().replied(token, status, now);
        match outcome {
            None => {}
            Some(Outcome::Taken(_)) => {
                counters.reports_sent.increment();
                self.0.refusals();
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
}

/// What all requests of one VM share.
struct Binder {
    config: Config,
    counters: Counters,
    reporter: RefCell<Reporter>,
    touches: RefCell<Touches>,
    complaints: Cell<u32>,
}

impl Binder {
    fn queue(&self, operation: Operation) {
        let dropped = self.reporter.borrow_mut().push(operation);
        self.counters.dropped.add(dropped as u64);
    }

    fn take_queued(&self, app: &str, id: &str) -> Vec<Operation> {
        self.reporter.borrow_mut().take(app, id)
    }

    fn touch_due(&self, id: &str, now: u64) -> bool {
        self.touches
            .borrow_mut()
            .due(id, now, self.config.touch_interval.0)
    }

    /// Counts the operations that the core, in the reply that is being delivered, says it did not apply.
    fn refusals(&self) {
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

    fn complain(&self, what: &str) {
        let said = self.complaints.get();
        if said < COMPLAINTS_MAX {
            self.complaints.set(said + 1);
            hostcalls::log(Level::Warn, what);
        }
    }
}

struct Counters {
    takeovers: Counter,
    deltas: Counter,
    homeless: Counter,
    bad_fields: Counter,
    dropped: Counter,
    refused: Counter,
    reports_sent: Counter,
    reports_failed: Counter,
    reports_refused: Counter,
    acks_held: Counter,
    acks_failed: Counter,
    acks_refused: Counter,
    acks_unreachable: Counter,
    acks_abandoned: Counter,
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
