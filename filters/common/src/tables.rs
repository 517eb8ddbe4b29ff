//! The worker table of this VM: loaded from shared data, fetched from the core when it is this VM's turn.
//!
//! The hands of [`crate::watch`]. One table per VM, whichever of its plugins ticks first; a request only borrows
//! it. Shared data, for all VMs of one vm id: `limpet.table` (the encoded table), `limpet.table.version` (its
//! version as text, written last) and `limpet.table.lease` (u64 LE, milliseconds since 1970).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use limpet_wire::codec;
use limpet_wire::names::{CORE_CLUSTER, TABLE_PATH};
use limpet_wire::table::WorkerTable;

use crate::hostcalls::{self, Level};
use crate::metrics::Counter;
use crate::watch::{self, Watch};

/// Where the encoded table is shared.
pub const KEY: &str = "limpet.table";
/// Where its version is shared.
pub const VERSION_KEY: &str = "limpet.table.version";
/// Where the lease is shared.
pub const LEASE_KEY: &str = "limpet.table.lease";

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    watch: Watch,
    table: Option<Rc<WorkerTable>>,
    counters: Option<Counters>,
    said_failed: bool,
}

#[derive(Clone, Copy)]
struct Counters {
    loads: Counter,
    changed: Counter,
    unchanged: Counter,
    failed: Counter,
}

/// The table in use; `None` until the first one arrived.
#[must_use]
pub fn current() -> Option<Rc<WorkerTable>> {
    STATE.with_borrow(|state| state.table.clone())
}

/// Makes this VM the process's table service.
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

/// Takes over the table that other VMs share, so that a VM that was restarted knows it before its first request;
/// call it while a plugin is configured. Nothing is fetched: a proxy that is still starting has no clusters.
pub fn take_over(now: u64) {
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
        let wants = state.watch.tick(version.as_deref(), now);
        if wants.load {
            state.load();
        }
        if wants.lease && state.lease(now) {
            state.fetch(now);
        }
    });
}

/// The reply to a call. `false`: it was not the table's.
pub fn reply(token: u32, status: Option<u16>, now: u64) -> bool {
    STATE.with_borrow_mut(|state| {
        if !state.watch.take_call(token) {
            return false;
        }
        let counters = state.counters;
        match (status, hostcalls::buffer(hostcalls::Buffer::CallResponseBody)) {
            (Some(200), Some(body)) => state.fetched(&body, now),
            (Some(204), _) => {
                state.answered();
                if let Some(counters) = counters {
                    counters.unchanged.increment();
                }
            }
            _ => state.failed(now, &format!("the core answered {}", status.unwrap_or(0))),
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
                self.put(table);
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

    fn put(&mut self, table: WorkerTable) {
        self.watch.loaded(table.version);
        self.table = Some(Rc::new(table));
    }

    /// Tries for the lease; `true`: fetch.
    fn lease(&mut self, now: u64) -> bool {
        let (found, cas) = match hostcalls::shared_data(LEASE_KEY) {
            Some((bytes, cas)) => (bytes.try_into().ok().map(u64::from_le_bytes), cas),
            None => (None, 0),
        };
        let Some(until) = self.watch.lease(found, now) else {
            return false;
        };
        let won = hostcalls::set_shared_data(LEASE_KEY, &until.to_le_bytes(), cas);
        self.watch.leased(until, won, now)
    }

    fn fetch(&mut self, now: u64) {
        let path = match self.watch.after() {
            Some(version) => format!("{TABLE_PATH}?after={version}&wait_ms={}", watch::WAIT_MS),
            None => TABLE_PATH.to_owned(),
        };
        let timeout = Duration::from_millis(watch::CALL_MS);
        match hostcalls::http_call(CORE_CLUSTER, "GET", &path, None, timeout) {
            Some(token) => self.watch.called(Some(token), now),
            None => self.failed(now, "nobody answers at the cluster limpet_core"),
        }
    }

    fn fetched(&mut self, body: &[u8], now: u64) {
        let table = match codec::decode::<WorkerTable>(body) {
            Ok(table) => table,
            Err(error) => return self.failed(now, &format!("the core's table is unusable: {error}")),
        };
        self.answered();
        if !self.watch.is_news(table.version) {
            if let Some(counters) = self.counters {
                counters.unchanged.increment();
            }
            return;
        }
        // The version last: who sees it finds a table at least as new.
        let published = hostcalls::set_shared_data(KEY, body, 0)
            && hostcalls::set_shared_data(VERSION_KEY, table.version.to_string().as_bytes(), 0);
        if !published {
            hostcalls::log(
                Level::Error,
                "the worker table could not be shared with the other VMs",
            );
        }
        self.put(table);
        if let Some(counters) = self.counters {
            counters.changed.increment();
        }
    }

    fn answered(&mut self) {
        self.watch.answered();
        if std::mem::take(&mut self.said_failed) {
            hostcalls::log(Level::Info, "the core serves the worker table again");
        }
    }

    /// Says so once, until the core answers again.
    fn failed(&mut self, now: u64, why: &str) {
        self.watch.failed(now);
        if let Some(counters) = self.counters {
            counters.failed.increment();
        }
        if !std::mem::replace(&mut self.said_failed, true) {
            hostcalls::log(
                Level::Warn,
                &format!("no new worker table: {why}; the last one stays in use"),
            );
        }
    }
}
