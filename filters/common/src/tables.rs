//! The worker table of this VM: loaded from shared data, or fetched from the core while this VM holds the lease.
//!
//! It makes the host calls that [`crate::watch`] decides on. All plugins of a VM share one table, and requests only
//! borrow it. Shared data, for all VMs of one vm id: `limpet.table` (the encoded table), `limpet.table.version` (its
//! version as text, written last) and `limpet.table.lease` (u64 LE, milliseconds since 1970). What the table means
//! for a request is the router's part.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use limpet_wire::codec;
use limpet_wire::names::{CORE_CLUSTER, TABLE_PATH};
use limpet_wire::table::WorkerTable;

use crate::core_clock;
use crate::hostcalls::{self, Level};
use crate::metrics::Counter;
use crate::watch::{self, Watch};

/// The shared data key of the encoded table.
pub const KEY: &str = "limpet.table";
/// The shared data key of its version.
pub const VERSION_KEY: &str = "limpet.table.version";
/// The shared data key of the lease.
pub const LEASE_KEY: &str = "limpet.table.lease";

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    watch: Watch,
    table: Option<Rc<WorkerTable>>,
    counters: Option<Counters>,
    failure_logged: bool,
}

#[derive(Clone, Copy)]
struct Counters {
    loads: Counter,
    changed: Counter,
    unchanged: Counter,
    failed: Counter,
}

/// The table in use; `None` until the first one was loaded.
#[must_use]
pub fn current() -> Option<Rc<WorkerTable>> {
    STATE.with_borrow(|state| state.table.clone())
}

/// Makes this VM the worker table service of the process.
pub fn serve() {
    STATE.with_borrow_mut(|state| state.watch.serve());
}

/// Defines the counters; call it while a plugin is configured.
pub fn define_counters() {
    let fetches = |result| Counter::define(&format!("limpet_table_fetches_total{{result=\"{result}\"}}"));
    let counters = Counters {
        loads: Counter::define("limpet_table_loads_total"),
        changed: fetches("changed"),
        unchanged: fetches("unchanged"),
        failed: fetches("failed"),
    };
    STATE.with_borrow_mut(|state| state.counters = Some(counters));
}

/// Loads the table that other VMs have shared, so that a restarted VM has it before its first request; call it while
/// a plugin is configured. Nothing is fetched: a proxy that is still starting has no clusters.
pub fn load_shared(now: u64) {
    let version = hostcalls::shared_data(VERSION_KEY).map(|(version, _)| version);
    STATE.with_borrow_mut(|state| {
        if state.watch.tick(version.as_deref(), now).load {
            state.load();
        }
    });
}

/// A tick of any root context of this VM.
pub fn tick(now: u64) {
    let version = hostcalls::shared_data(VERSION_KEY).map(|(version, _)| version);
    STATE.with_borrow_mut(|state| {
        let due = state.watch.tick(version.as_deref(), now);
        if due.load {
            state.load();
        }
        if due.lease && state.acquire_lease(now) {
            state.fetch(now);
        }
    });
}

/// The reply to a call. `false`: the call was not a fetch of the table.
pub fn on_reply(token: u32, status: Option<u16>, now: u64) -> bool {
    STATE.with_borrow_mut(|state| {
        if !state.watch.on_reply(token) {
            return false;
        }
        let counters = state.counters;
        if let Some(200 | 204) = status {
            core_clock::learn_from_reply();
        }
        match (status, hostcalls::buffer(hostcalls::Buffer::CallResponseBody)) {
            (Some(200), Some(body)) => state.on_table(&body, now),
            (Some(204), _) => {
                state.on_success();
                if let Some(counters) = counters {
                    counters.unchanged.increment();
                }
            }
            (Some(status), _) => state.on_failure(now, &format!("the core answered {status}")),
            (None, _) => state.on_failure(now, "the core did not answer"),
        }
        true
    })
}

impl State {
    fn load(&mut self) {
        let Some((bytes, _)) = hostcalls::shared_data(KEY) else {
            return;
        };
        match codec::decode::<WorkerTable>(&bytes) {
            Ok(table) => {
                self.set(table);
                if let Some(counters) = self.counters {
                    counters.loads.increment();
                }
            }
            Err(error) => hostcalls::log(
                Level::Error,
                &format!("the shared worker table is unusable: {error}"),
            ),
        }
    }

    fn set(&mut self, table: WorkerTable) {
        self.watch.on_loaded(table.version);
        self.table = Some(Rc::new(table));
    }

    /// Tries to take or renew the lease; `true`: fetch now.
    fn acquire_lease(&mut self, now: u64) -> bool {
        let (found, cas) = match hostcalls::shared_data(LEASE_KEY) {
            Some((bytes, cas)) => (bytes.try_into().ok().map(u64::from_le_bytes), cas),
            None => (None, 0),
        };
        let Some(until) = self.watch.lease(found, now) else {
            return false;
        };
        let won = hostcalls::set_shared_data(LEASE_KEY, &until.to_le_bytes(), cas);
        self.watch.on_lease_written(until, won, now)
    }

    fn fetch(&mut self, now: u64) {
        let path = match self.watch.table_version() {
            Some(version) => format!("{TABLE_PATH}?after={version}&wait_ms={}", watch::WAIT_MS),
            None => format!("{TABLE_PATH}?wait_ms={}", watch::WAIT_MS),
        };
        let timeout = Duration::from_millis(watch::FETCH_TIMEOUT_MS);
        match hostcalls::http_call(CORE_CLUSTER, "GET", &path, None, timeout) {
            Some(token) => self.watch.on_fetch_started(token, now),
            None => self.on_failure(now, "the upstream cluster limpet_core cannot be reached"),
        }
    }

    fn on_table(&mut self, body: &[u8], now: u64) {
        let table = match codec::decode::<WorkerTable>(body) {
            Ok(table) => table,
            Err(error) => return self.on_failure(now, &format!("the core's table is unusable: {error}")),
        };
        self.on_success();
        if !self.watch.is_newer(table.version) {
            if let Some(counters) = self.counters {
                counters.unchanged.increment();
            }
            return;
        }
        // The version is written last: a VM that sees it finds a table at least as new.
        let published = hostcalls::set_shared_data(KEY, body, 0)
            && hostcalls::set_shared_data(VERSION_KEY, table.version.to_string().as_bytes(), 0);
        if !published {
            hostcalls::log(
                Level::Error,
                "the worker table could not be shared with the other VMs",
            );
        }
        self.set(table);
        if let Some(counters) = self.counters {
            counters.changed.increment();
        }
    }

    fn on_success(&mut self) {
        self.watch.on_success();
        if std::mem::take(&mut self.failure_logged) {
            hostcalls::log(Level::Info, "the core serves the worker table again");
        }
    }

    /// Logs the first failure after a success, and counts all.
    fn on_failure(&mut self, now: u64, why: &str) {
        self.watch.on_failure(now);
        if let Some(counters) = self.counters {
            counters.failed.increment();
        }
        if !std::mem::replace(&mut self.failure_logged, true) {
            hostcalls::log(
                Level::Warn,
                &format!("no new worker table: {why}; the last one stays in use"),
            );
        }
    }
}
