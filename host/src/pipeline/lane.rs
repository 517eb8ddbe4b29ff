//! All of one thread: its virtual machines, workers, connections and counters.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use limpet_wire::names::CORE_CLUSTER;
use limpet_wire::table::WorkerTable;
use tokio::sync::{mpsc, watch};

use super::Filter;
use super::callout::Callouts;
use crate::config::Config;
use crate::telemetry::counters::Counters;
use crate::upstream::cluster::Cluster;
use crate::upstream::pool::{Pool, SWEEP};
use crate::wasm::engine::Program;
use crate::wasm::instance::{StartError, Vm};
use crate::wasm::shared::queue::{HINTS_MAX, Hint};

/// All of one thread.
#[derive(Debug)]
pub struct Lane {
    /// What the file says.
    pub config: Arc<Config>,
    /// The filters, in order.
    pub filters: Vec<Filter>,
    /// The clusters, as in the file.
    pub clusters: Rc<Vec<Rc<Cluster>>>,
    /// This thread's counters.
    pub counters: Arc<Counters>,
    /// What the filters ask of others.
    pub callouts: Rc<Callouts>,
    vms: Vec<Rc<Vm>>,
    core: Option<Rc<Pool>>,
    hints: RefCell<Option<mpsc::Receiver<Hint>>>,
}

impl Lane {
    /// Starts the virtual machines of a thread. Call-outs and timers begin with [`Lane::run`].
    ///
    /// # Errors
    /// The first virtual machine that does not start.
    pub fn start(
        config: &Arc<Config>,
        program: &Program,
        counters: &Arc<Counters>,
    ) -> Result<Rc<Self>, StartError> {
        let clusters: Rc<Vec<_>> =
            Rc::new(config.clusters.iter().map(|c| Rc::new(Cluster::new(c))).collect());
        let core = config
            .core
            .clone()
            .map(|core| Rc::new(Pool::new(core, Duration::from_secs(2))));
        let callouts = Callouts::new(Rc::clone(&clusters), core.clone(), Arc::clone(counters));
        let (sender, hints) = mpsc::channel(HINTS_MAX);
        let mut vms = Vec::new();
        for (index, blueprint) in program.blueprints.iter().enumerate() {
            let mailbox = Some((sender.clone(), index));
            let vm = Vm::new(
                Arc::clone(blueprint),
                callouts.clone(),
                mailbox,
                Arc::clone(counters),
            );
            vm.start()?;
            vms.push(vm);
        }
        let seats = program.seats.iter().zip(&config.filters);
        let filters = seats.filter_map(|(seat, plugin)| {
            Some(Filter {
                vm: Rc::clone(vms.get(seat.vm)?),
                root: seat.root,
                plugin: Arc::new(plugin.clone()),
            })
        });
        Ok(Rc::new(Self {
            config: Arc::clone(config),
            filters: filters.collect(),
            clusters,
            counters: Arc::clone(counters),
            callouts,
            vms,
            core,
            hints: RefCell::new(Some(hints)),
        }))
    }

    /// Whether a filter may send requests to `cluster`.
    #[must_use]
    pub fn knows(&self, cluster: &str) -> bool {
        (cluster == CORE_CLUSTER && self.core.is_some())
            || self.clusters.iter().any(|known| *known.name == *cluster)
    }

    /// Follows the core's table, tells filters about their queues, and closes unused connections. Never ends.
    pub async fn run(self: Rc<Self>, mut tables: watch::Receiver<Option<Arc<WorkerTable>>>) {
        let mut hints = self.hints.take();
        let mut sweep = tokio::time::interval(SWEEP);
        self.take_table(&mut tables);
        loop {
            tokio::select! {
                changed = tables.changed() => match changed {
                    Ok(()) => self.take_table(&mut tables),
                    // Nobody polls: the workers are those of the file.
                    Err(_) => tables = never(),
                },
                Some(hint) = next(&mut hints) => {
                    if let Some(vm) = self.vms.get(hint.vm) {
                        // A dead machine has lost its queues' meaning along with its state.
                        let _ = vm.queue_ready(hint);
                    }
                }
                _ = sweep.tick() => {
                    self.clusters.iter().for_each(|cluster| cluster.sweep());
                    self.core.iter().for_each(|core| core.sweep());
                }
            }
        }
    }

    fn take_table(&self, tables: &mut watch::Receiver<Option<Arc<WorkerTable>>>) {
        if let Some(table) = tables.borrow_and_update().as_ref() {
            self.clusters.iter().for_each(|cluster| cluster.update(table));
        }
    }
}

async fn next(hints: &mut Option<mpsc::Receiver<Hint>>) -> Option<Hint> {
    match hints {
        Some(hints) => hints.recv().await,
        None => std::future::pending().await,
    }
}

/// A table that never changes.
fn never() -> watch::Receiver<Option<Arc<WorkerTable>>> {
    let (sender, receiver) = watch::channel(None);
    // Leaked once per thread, so that the receiver waits for ever.
    std::mem::forget(sender);
    receiver
}
