//! A worker thread's own copy of everything a request needs: filters in virtual machines, clusters with their
//! connections, routes, counters.
//!
//! [`WorkerThread::start`] builds it. [`WorkerThread::maintain`] applies new worker tables, notifies filters of queue
//! items and closes unused connections. Accepting clients is left to `server`, starting and stopping to `proxy`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use limpet_wire::table::WorkerTable;
use tokio::sync::{mpsc, watch};

use super::callout::Callouts;
use crate::client::waits::Waits;
use crate::route::Route;
use crate::supervise::Supervisor;
use crate::telemetry::counters::Counters;
use crate::upstream::cluster::Cluster;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::pool::{Pool, SWEEP};
use crate::upstream::settings::ClusterSettings;
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::queue::{QUEUE_EVENTS_MAX, QueueEvent};
use crate::wasm::vm::compile::CompiledChain;
use crate::wasm::vm::{StartError, Vm};

/// How long opening a connection to the core may take.
const CORE_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What every worker thread is built from.
#[derive(Debug)]
pub struct Blueprint {
    /// The routes, in the order they are tried.
    pub routes: Vec<Route>,
    /// The clusters; routes name them by position.
    pub clusters: Vec<ClusterSettings>,
    /// Where the core listens, for filters' calls to it.
    pub core: Option<Endpoint>,
    /// The filters, compiled.
    pub chain: CompiledChain,
}

/// A filter of one thread's chain.
#[derive(Debug)]
pub struct Filter {
    /// Where it runs.
    pub vm: Rc<Vm>,
    /// Which plugin of that virtual machine it is.
    pub root: usize,
    /// What the configuration says about it.
    pub plugin: Arc<Plugin>,
}

/// Everything of one thread.
#[derive(Debug)]
pub struct WorkerThread {
    /// Common to all threads.
    pub blueprint: Arc<Blueprint>,
    /// The filters, in order.
    pub filters: Vec<Filter>,
    /// The clusters, by position.
    pub clusters: Rc<Vec<Rc<Cluster>>>,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// The requests filters send themselves.
    pub callouts: Rc<Callouts>,
    /// The waits of this thread's exchanges, and its clock.
    pub waits: Rc<Waits>,
    vms: Vec<Rc<Vm>>,
    core: Option<Rc<Pool>>,
    queue_events: RefCell<Option<mpsc::Receiver<QueueEvent>>>,
}

impl WorkerThread {
    /// Starts the virtual machines of a thread.
    ///
    /// # Errors
    /// The first virtual machine that does not start.
    pub fn start(
        blueprint: &Arc<Blueprint>,
        counters: &Arc<Counters>,
        supervisor: &Supervisor,
    ) -> Result<Rc<Self>, StartError> {
        let settings = blueprint.clusters.iter();
        let clusters: Rc<Vec<_>> = Rc::new(settings.map(|c| Rc::new(Cluster::new(c))).collect());
        let core = blueprint
            .core
            .clone()
            .map(|core| Rc::new(Pool::new(core, CORE_CONNECT_TIMEOUT)));
        let callouts = Callouts::new(
            Rc::clone(&clusters),
            core.clone(),
            Arc::clone(counters),
            supervisor.clone(),
        );
        let (sender, queue_events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let mut vms = Vec::new();
        for (index, template) in blueprint.chain.vms.iter().enumerate() {
            let mailbox = Some((sender.clone(), index));
            let vm = Vm::new(
                Arc::clone(template),
                callouts.clone(),
                mailbox,
                Arc::clone(counters),
            );
            vm.start()?;
            vms.push(vm);
        }
        let filters = blueprint.chain.entries.iter().filter_map(|entry| {
            let vm = vms.get(entry.vm)?;
            Some(Filter {
                vm: Rc::clone(vm),
                root: entry.root,
                plugin: Arc::clone(vm.plugin(entry.root)?),
            })
        });
        Ok(Rc::new(Self {
            blueprint: Arc::clone(blueprint),
            filters: filters.collect(),
            clusters,
            counters: Arc::clone(counters),
            callouts,
            waits: Rc::default(),
            vms,
            core,
            queue_events: RefCell::new(Some(queue_events)),
        }))
    }

    /// Applies new worker tables, tells filters about their queues, and closes unused connections. Never ends.
    pub async fn maintain(self: Rc<Self>, mut tables: watch::Receiver<Option<Arc<WorkerTable>>>) {
        let mut queue_events = self.queue_events.take();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut polled = true;
        self.apply_table(&mut tables);
        loop {
            tokio::select! {
                changed = tables.changed(), if polled => match changed {
                    Ok(()) => self.apply_table(&mut tables),
                    // No core is polled: the workers are those of the configuration.
                    Err(_) => polled = false,
                },
                Some(event) = next(&mut queue_events) => {
                    if let Some(vm) = self.vms.get(event.vm) {
                        // A machine that is not running registers its queues again when it restarts.
                        let _ = vm.queue_ready(event);
                    }
                }
                _ = sweep.tick() => {
                    self.clusters.iter().for_each(|cluster| cluster.sweep());
                    self.core.iter().for_each(|core| core.sweep());
                }
            }
        }
    }

    fn apply_table(&self, tables: &mut watch::Receiver<Option<Arc<WorkerTable>>>) {
        if let Some(table) = tables.borrow_and_update().as_ref() {
            self.clusters.iter().for_each(|cluster| cluster.update(table));
        }
    }
}

async fn next(queue_events: &mut Option<mpsc::Receiver<QueueEvent>>) -> Option<QueueEvent> {
    match queue_events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
