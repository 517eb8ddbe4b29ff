//! The whole proxy: built, started, stopped.
//!
//! [`Proxy::build`] compiles the filters, tries each one out, and binds; nothing is bound when a filter refuses its
//! configuration. [`Proxy::start`] runs the threads, each with everything of its own; [`Running`] stops them.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use limpet_wire::table::WorkerTable;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;

use crate::admin;
use crate::config::{Config, Workers};
use crate::pipeline::lane::Lane;
use crate::server::accept::accept;
use crate::server::listen;
use crate::server::watch::{Order, STEP, Watch};
use crate::telemetry::counters::Counters;
use crate::upstream::table;
use crate::wasm::after::{Callout, Outside};
use crate::wasm::engine::{self, EngineError, Program};
use crate::wasm::instance::{StartError, Vm};
use crate::wasm::limits::THREAD_STACK;
use crate::wasm::shared::Shared;

/// How often a thread that stops looks whether it may.
const POLL: Duration = Duration::from_millis(5);
/// How long a start waits for the first worker table; connections wait in the kernel meanwhile.
const TABLE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a filter's tick and the call it makes may take: filters get it before the first connection, and once
/// more after the last.
const LAST_TICK: Duration = Duration::from_millis(50);

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A module is not usable; the operator changes the configuration.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A filter does not start; the operator changes its configuration.
    #[error(transparent)]
    Filter(#[from] StartError),
    /// An address is not to be had.
    #[error("{address} cannot be bound: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no more threads or descriptors.
    #[error("the system refuses a thread: {0}")]
    System(#[from] std::io::Error),
}

impl BuildError {
    /// Whether the configuration is to blame.
    #[must_use]
    pub const fn is_config(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Filter(_))
    }
}

/// A proxy that is bound and not started.
#[derive(Debug)]
pub struct Proxy {
    config: Arc<Config>,
    program: Arc<Program>,
    shared: Arc<Shared>,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serve,
    Drain,
    End,
}

impl Proxy {
    /// Compiles, tries out and binds.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing is left bound.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let (program, shared) = compile(&config)?;
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
            config: Arc::new(config),
            program: Arc::new(program),
            shared: Arc::new(shared),
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
        compile(config).map(|_| ())
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
        let state = Arc::new(admin::State {
            counters: counters.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            needs_table: self
                .config
                .clusters
                .iter()
                .any(|c| matches!(c.workers, Workers::Core)),
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
        };
        let (started, starts) = mpsc::channel();
        let mut first = Some(First {
            admin: self.admin,
            state,
            tables: self.config.core.is_some().then_some(publish),
        });
        for (index, (sockets, counters)) in self.sockets.into_iter().zip(counters).enumerate() {
            let thread = Thread {
                config: Arc::clone(&self.config),
                program: Arc::clone(&self.program),
                counters,
                sockets,
                tables: tables.clone(),
                phases: phases.clone(),
                first: first.take(),
            };
            let started = started.clone();
            let spawned = std::thread::Builder::new()
                .name(format!("proxy-{index}"))
                .stack_size(THREAD_STACK)
                .spawn(move || thread.run(&started))?;
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

fn compile(config: &Config) -> Result<(Program, Shared), BuildError> {
    let shared = Arc::new(Shared::default());
    let program = engine::compile(&config.filters, &shared)?;
    let outside = Rc::new(Rehearsal(
        config
            .clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .collect(),
    ));
    for blueprint in &program.blueprints {
        Vm::new(Arc::clone(blueprint), outside.clone(), None, Arc::default()).start()?;
    }
    let shared = Shared {
        metrics: Arc::clone(&shared.metrics),
        ..Shared::default()
    };
    Ok((program, shared))
}

/// The outside of a filter that is only tried out: it may name clusters, and nothing happens.
#[derive(Debug)]
struct Rehearsal(Vec<String>);

impl Outside for Rehearsal {
    fn knows(&self, cluster: &str) -> bool {
        cluster == limpet_wire::names::CORE_CLUSTER || self.0.iter().any(|known| known == cluster)
    }

    fn call(&self, _: &Rc<Vm>, _: u32, _: Callout) {}

    fn tick(&self, _: &Rc<Vm>, _: u32, _: usize, _: Duration) {}
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

    /// Stops accepting, lets requests finish up to the configured time, and returns when all threads have ended.
    pub fn stop(mut self) {
        self.state.stopping.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Drain);
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread panicked");
            }
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

/// What only one thread does.
#[derive(Debug)]
struct First {
    admin: Option<TcpListener>,
    state: Arc<admin::State>,
    tables: Option<watch::Sender<Option<Arc<WorkerTable>>>>,
}

struct Thread {
    config: Arc<Config>,
    program: Arc<Program>,
    counters: Arc<Counters>,
    sockets: Vec<TcpListener>,
    tables: watch::Receiver<Option<Arc<WorkerTable>>>,
    phases: watch::Receiver<Phase>,
    first: Option<First>,
}

impl Thread {
    fn run(self, started: &mpsc::Sender<Result<(), BuildError>>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(self.serve(started)),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = ended {
            // Nobody listens any more if this is not the start.
            let _ = started.send(Err(error));
        }
    }

    async fn serve(mut self, started: &mpsc::Sender<Result<(), BuildError>>) -> Result<(), BuildError> {
        let lane = Lane::start(&self.config, &self.program, &self.counters)?;
        let watch = Rc::new(Watch::default());
        if let Some(first) = self.first.take() {
            if let Some(listener) = first.admin {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                tokio::task::spawn_local(admin::serve(listener, first.state));
            }
            if let (Some(tables), Some(core)) = (first.tables, self.config.core.clone()) {
                tokio::task::spawn_local(table::poll(core, tables));
            }
        }
        let mut tables = self.tables.clone();
        tokio::task::spawn_local(Rc::clone(&lane).run(self.tables));
        if self
            .config
            .clusters
            .iter()
            .any(|cluster| matches!(cluster.workers, Workers::Core))
        {
            know_workers(&lane, &mut tables).await;
        }
        let mut accepting = Vec::new();
        for socket in self.sockets {
            let listener = tokio::net::TcpListener::from_std(socket)?;
            accepting.push(tokio::task::spawn_local(accept(
                Rc::clone(&lane),
                listener,
                Rc::clone(&watch),
            )));
        }
        tokio::task::spawn_local(step(
            Rc::clone(&watch),
            Arc::clone(&self.config),
            Arc::clone(&self.counters),
        ));
        // The starter may have given up; then the phase says so.
        let _ = started.send(Ok(()));

        let draining = self
            .phases
            .wait_for(|phase| *phase != Phase::Serve)
            .await
            .map_or(Phase::End, |phase| *phase);
        accepting.iter().for_each(tokio::task::JoinHandle::abort);
        if draining == Phase::Drain {
            watch.order(Order::Finish);
            tokio::select! {
                () = finished(&lane, &watch) => {}
                () = tokio::time::sleep(self.config.server.drain) => {}
                _ = self.phases.wait_for(|phase| *phase == Phase::End) => {}
            }
        }
        // Whatever still runs ends with the runtime, and may start nothing any more.
        lane.callouts.close();
        watch.order(Order::Close);
        Ok(())
    }
}

/// Returns when the first worker table is here, for the balancer and, a tick later, for the filters; or when waiting
/// any longer would keep out requests that need none.
async fn know_workers(lane: &Lane, tables: &mut watch::Receiver<Option<Arc<WorkerTable>>>) {
    let first = tokio::time::timeout(TABLE_PATIENCE, tables.wait_for(Option::is_some)).await;
    if first.is_err() {
        tracing::warn!(
            "the core gave no worker table in {TABLE_PATIENCE:?}; listens without workers until it does"
        );
    } else if !lane.filters.is_empty() {
        tokio::time::sleep(LAST_TICK).await;
    }
}

/// Returns when no connection is left and the filters have said their last words: what they collected for their
/// core leaves with the next tick of theirs.
async fn finished(lane: &Lane, watch: &Watch) {
    while !watch.is_empty() {
        tokio::time::sleep(POLL).await;
    }
    if !lane.filters.is_empty() {
        tokio::time::sleep(LAST_TICK).await;
    }
    while lane.callouts.telling() > 0 {
        tokio::time::sleep(POLL).await;
    }
}

async fn step(watch: Rc<Watch>, config: Arc<Config>, counters: Arc<Counters>) {
    let mut steps = tokio::time::interval(STEP);
    loop {
        steps.tick().await;
        counters.timeouts.add(watch.step(&config.server));
    }
}
