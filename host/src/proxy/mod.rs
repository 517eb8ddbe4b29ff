//! The whole proxy: built, started, stopped.
//!
//! [`Proxy::build`] compiles the filters, tries each one out, and binds; nothing is bound when a filter refuses its
//! configuration. [`Proxy::start`] runs the threads, which share next to nothing; [`Running`] stops them. What a thread
//! does is left to `thread`, ending the process to `cli`.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::admin;
use crate::config::{Config, Server};
use crate::pipeline::worker_thread::Blueprint;
use crate::server::listen;
use crate::supervise::{Supervisor, TaskDied};
use crate::telemetry::counters::Counters;
use crate::upstream::settings::WorkerSource;
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::Shared;
use crate::wasm::state::actions::Callout;
use crate::wasm::state::embedder::{Embedder, RootContexts};
use crate::wasm::vm::compile::{self, CompiledChain};
use crate::wasm::vm::limits::THREAD_STACK;
use crate::wasm::vm::{Vm, epoch};
use thread::{Phase, Process, Thread};

mod error; // why there is no proxy
mod thread; // one thread of the proxy

pub use error::BuildError;

/// The stack of the thread that advances the epoch, in bytes: it only sleeps and counts.
const EPOCH_STACK: usize = 64 << 10;

/// A proxy that is bound and not started.
#[derive(Debug)]
pub struct Proxy {
    server: Server,
    blueprint: Arc<Blueprint>,
    shared: Arc<Shared>,
    supervisor: Supervisor,
    reports: tokio::sync::mpsc::Receiver<TaskDied>,
    /// For each thread, its sockets.
    sockets: Vec<Vec<TcpListener>>,
    addresses: Vec<SocketAddr>,
    admin: Option<TcpListener>,
}

/// A proxy that runs. Dropping it stops it at once.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    state: Arc<admin::State>,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
    reports: tokio::sync::mpsc::Receiver<TaskDied>,
}

impl Proxy {
    /// Compiles, tries out and binds.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing is left bound.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let (supervisor, reports) = Supervisor::new();
        let shared = Arc::new(Shared::new());
        let names = config.clusters.iter().map(|cluster| cluster.name.clone());
        let chain = compile(&config.filters, names.collect(), &shared, &supervisor)?;
        let mut sockets: Vec<Vec<TcpListener>> = (0..config.server.threads).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        for address in config.listeners.iter().copied() {
            let refuse = |source| BuildError::Bind { address, source };
            let listeners = listen::bind(address, config.server.threads).map_err(refuse)?;
            for (thread, listener) in sockets.iter_mut().zip(listeners) {
                if thread.len() == addresses.len() {
                    thread.push(listener);
                }
            }
            let bound = sockets.first().and_then(|thread| thread.last());
            addresses.push(
                bound
                    .map_or(Ok(address), TcpListener::local_addr)
                    .map_err(refuse)?,
            );
        }
        let admin = match config.admin {
            Some(address) => {
                let mut bound =
                    listen::bind(address, 1).map_err(|source| BuildError::Bind { address, source })?;
                bound.pop()
            }
            None => None,
        };
        Ok(Self {
            server: config.server,
            blueprint: Arc::new(Blueprint {
                routes: config.routes,
                clusters: config.clusters,
                core: config.core,
                chain,
            }),
            shared,
            supervisor,
            reports,
            sockets,
            addresses,
            admin,
        })
    }

    /// Compiles and tries out, and binds nothing.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn check(config: &Config) -> Result<(), BuildError> {
        let (supervisor, _) = Supervisor::new();
        let names = config.clusters.iter().map(|cluster| cluster.name.clone());
        compile(
            &config.filters,
            names.collect(),
            &Arc::new(Shared::new()),
            &supervisor,
        )
        .map(|_| ())
    }

    /// Where clients come in, as in the file, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Starts the threads and waits until each one serves.
    ///
    /// # Errors
    /// When a thread or a filter in it does not start; no thread is left.
    pub fn start(self) -> Result<Running, BuildError> {
        let (publish, tables) = watch::channel(None);
        let (phase, phases) = watch::channel(Phase::Serve);
        let counters: Vec<_> = (0..self.sockets.len())
            .map(|_| Arc::new(Counters::default()))
            .collect();
        let needs_table = self
            .blueprint
            .clusters
            .iter()
            .any(|cluster| matches!(cluster.workers, WorkerSource::Core));
        let state = Arc::new(admin::State {
            counters: counters.clone(),
            shared: self.shared,
            needs_table,
            tables: tables.clone(),
            stopping: AtomicBool::new(false),
        });
        let admin = self
            .admin
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let mut running = Running {
            addresses: self.addresses,
            admin,
            state: Arc::clone(&state),
            phase,
            threads: Vec::new(),
            reports: self.reports,
        };
        let (started, starts) = mpsc::channel();
        let mut process = Some(Process {
            admin: self.admin,
            state,
            tables: self.blueprint.core.is_some().then_some(publish),
        });
        for (index, (sockets, counters)) in self.sockets.into_iter().zip(counters).enumerate() {
            let thread = Thread {
                server: self.server.clone(),
                blueprint: Arc::clone(&self.blueprint),
                needs_table,
                counters,
                sockets,
                tables: tables.clone(),
                phases: phases.clone(),
                supervisor: self.supervisor.clone(),
                process: process.take(),
            };
            let started = started.clone();
            let supervisor = self.supervisor.clone();
            let spawned = std::thread::Builder::new()
                .name(format!("proxy-{index}"))
                .stack_size(THREAD_STACK)
                .spawn(move || supervisor.run("a worker thread", || thread.run(&started)))?;
            running.threads.push(spawned);
        }
        drop(started);
        for _ in 0..running.threads.len() {
            match starts.recv() {
                Ok(result) => result?,
                Err(mpsc::RecvError) => {
                    return Err(std::io::Error::other("a thread ended while it started").into());
                }
            }
        }
        Ok(running)
    }
}

/// Compiles `filters` and tries each one out.
fn compile(
    filters: &[Plugin],
    clusters: Vec<String>,
    shared: &Arc<Shared>,
    supervisor: &Supervisor,
) -> Result<CompiledChain, BuildError> {
    let chain = compile::compile(filters, shared)?;
    if let Some(engine) = &chain.engine {
        let advance = epoch::advance(engine);
        let supervisor = supervisor.clone();
        std::thread::Builder::new()
            .name("epoch".into())
            .stack_size(EPOCH_STACK)
            .spawn(move || supervisor.run("the clock of filters' deadlines", advance))?;
    }
    let embedder = Rc::new(Rehearsal(clusters));
    for template in &chain.vms {
        Vm::new(Arc::clone(template), embedder.clone(), None, Arc::default()).start()?;
    }
    Ok(chain)
}

/// The embedder of a filter that is only tried out: it may name clusters, and nothing happens.
#[derive(Debug)]
struct Rehearsal(Vec<String>);

impl Embedder for Rehearsal {
    fn knows(&self, cluster: &str) -> bool {
        cluster == limpet_wire::names::CORE_CLUSTER || self.0.iter().any(|known| known == cluster)
    }

    fn call(&self, _: Rc<dyn RootContexts>, _: u32, _: Callout) {}

    fn set_timer(&self, _: Rc<dyn RootContexts>, _: u32, _: usize, _: Duration) {}
}

impl Running {
    /// Where clients come in.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where health and metrics are served.
    #[must_use]
    pub const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The sum of one counter over all threads.
    #[must_use]
    pub fn count(&self, counter: impl Fn(&Counters) -> u64) -> u64 {
        self.state.counters.iter().map(|counters| counter(counters)).sum()
    }

    /// Waits until a task dies that the proxy cannot serve without. The process has to end then.
    pub async fn task_died(&mut self) -> TaskDied {
        match self.reports.recv().await {
            Some(died) => died,
            // Every thread is gone, and none of them reported anything: they were stopped.
            None => std::future::pending().await,
        }
    }

    /// Stops accepting, lets requests finish up to the configured time, and returns when all threads have ended.
    pub fn stop(mut self) {
        self.state.stopping.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Drain);
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // What panics inside is reported by the supervisor.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.phase.send_replace(Phase::End);
            self.join();
        }
    }
}

#[cfg(test)]
impl Proxy {
    /// The supervisor of everything that will run.
    pub(crate) const fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}
