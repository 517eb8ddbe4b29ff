//! One thread of the proxy: it starts its tasks on an event loop of its own, serves, drains, and ends. The tasks
//! themselves are left to `server`, `pipeline`, `upstream` and `admin`.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use limpet_wire::table::WorkerTable;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;

use super::error::BuildError;
use crate::admin;
use crate::config::Server;
use crate::pipeline::worker_thread::{Blueprint, WorkerThread};
use crate::server::accept::accept;
use crate::server::tracker::{Order, TICK, Timeouts, Tracker};
use crate::supervise::{MayEnd, Supervisor};
use crate::telemetry::counters::Counters;
use crate::upstream::table;

/// How often a thread that stops looks whether it may.
const POLL: Duration = Duration::from_millis(5);
/// How long a start waits for the first worker table; connections wait in the kernel meanwhile.
const TABLE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a filter's tick and the call it makes may take. Filters get it before the first connection, to apply the
/// worker table, and once more after the last, to send what they collected.
const LAST_TICK: Duration = Duration::from_millis(50);

/// What the threads shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serve,
    Drain,
    End,
}

/// What the first thread does for the whole process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) admin: Option<TcpListener>,
    pub(super) state: Arc<admin::State>,
    pub(super) tables: Option<watch::Sender<Option<Arc<WorkerTable>>>>,
}

/// A thread that is about to start.
pub(super) struct Thread {
    pub(super) server: Server,
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) needs_table: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) sockets: Vec<TcpListener>,
    pub(super) tables: watch::Receiver<Option<Arc<WorkerTable>>>,
    pub(super) phases: watch::Receiver<Phase>,
    pub(super) supervisor: Supervisor,
    pub(super) process: Option<Process>,
}

impl Thread {
    /// Serves until the phase says otherwise; tells `started` once it serves, or why it does not.
    pub(super) fn run(self, started: &mpsc::Sender<Result<(), BuildError>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(self.serve(started)),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            // After the start the receiver is gone.
            let _ = started.send(Err(error));
        }
    }

    async fn serve(mut self, started: &mpsc::Sender<Result<(), BuildError>>) -> Result<(), BuildError> {
        let supervisor = self.supervisor;
        let thread = WorkerThread::start(&self.blueprint, &self.counters, &supervisor)?;
        let tracker = Rc::new(Tracker::new(Rc::clone(&thread.waits)));
        if let Some(process) = self.process.take() {
            if let Some(listener) = process.admin {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                supervisor.spawn(
                    "the admin page",
                    MayEnd::No,
                    admin::serve(listener, process.state),
                );
            }
            if let (Some(tables), Some(core)) = (process.tables, self.blueprint.core.clone()) {
                supervisor.spawn("polling the worker table", MayEnd::No, table::poll(core, tables));
            }
        }
        let mut tables = self.tables.clone();
        supervisor.spawn(
            "applying worker tables",
            MayEnd::No,
            Rc::clone(&thread).maintain(self.tables),
        );
        if self.needs_table {
            await_workers(&thread, &mut tables).await;
        }
        let mut accepting = Vec::new();
        for socket in self.sockets {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            let accept = accept(Rc::clone(&thread), listener, Rc::clone(&tracker));
            accepting.push(supervisor.spawn("accepting connections", MayEnd::No, accept));
        }
        let timeouts = Timeouts {
            header: self.server.header_timeout,
            idle: self.server.idle_timeout,
        };
        let ticks = tick(Rc::clone(&tracker), timeouts, Arc::clone(&self.counters));
        supervisor.spawn("the clock of timeouts", MayEnd::No, ticks);
        // The starter may have given up; then the phase says so.
        let _ = started.send(Ok(()));

        let phase = self
            .phases
            .wait_for(|phase| *phase != Phase::Serve)
            .await
            .map_or(Phase::End, |phase| *phase);
        accepting.iter().for_each(tokio::task::AbortHandle::abort);
        if phase == Phase::Drain {
            tracker.order(Order::Finish);
            tokio::select! {
                () = finished(&thread, &tracker) => {}
                () = tokio::time::sleep(self.server.drain) => {}
                _ = self.phases.wait_for(|phase| *phase == Phase::End) => {}
            }
        }
        // Whatever still runs ends with the runtime, and may start nothing any more.
        thread.callouts.close();
        tracker.order(Order::Close);
        Ok(())
    }
}

/// Returns when the first worker table is here, for the balancer and, a tick later, for the filters; or when waiting
/// any longer would keep out requests that need none.
async fn await_workers(thread: &WorkerThread, tables: &mut watch::Receiver<Option<Arc<WorkerTable>>>) {
    let first = tokio::time::timeout(TABLE_PATIENCE, tables.wait_for(Option::is_some)).await;
    if first.is_err() {
        tracing::warn!(
            "the core gave no worker table in {TABLE_PATIENCE:?}; listens without workers until it does"
        );
    } else if !thread.filters.is_empty() {
        tokio::time::sleep(LAST_TICK).await;
    }
}

/// Returns when no connection is left and filters have sent what they collected: it leaves with their next tick.
async fn finished(thread: &WorkerThread, tracker: &Tracker) {
    while !tracker.is_empty() {
        tokio::time::sleep(POLL).await;
    }
    if !thread.filters.is_empty() {
        tokio::time::sleep(LAST_TICK).await;
    }
    while thread.callouts.pending_updates() > 0 {
        tokio::time::sleep(POLL).await;
    }
}

async fn tick(tracker: Rc<Tracker>, timeouts: Timeouts, counters: Arc<Counters>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        counters.timeouts.add(tracker.tick(&timeouts));
    }
}
