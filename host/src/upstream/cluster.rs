//! The workers of one `[[cluster]]`, as one thread sees them now.
//!
//! The list comes from the configuration or from the core's worker table. [`Workers::next`] names the worker of each
//! attempt: first those a filter listed, then the balancer's choice. Sending the request is left to `pipeline`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use limpet_wire::table::{WorkerStatus, WorkerTable};

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::settings::{ClusterSettings, WorkerSource};
use crate::balance::plan::Plan;
use crate::balance::{Balance, Load, choose};
use crate::message::destination;

/// A worker.
#[derive(Debug)]
pub struct Worker {
    /// `ip:port`, as filters name it in `x-limpet-destination`.
    pub addr: Rc<str>,
    /// Its weight and its open requests.
    pub load: Load,
    /// Its connections.
    pub pool: Rc<Pool>,
    /// Until when the balancer passes it over because it refused a connection, in milliseconds of the thread's clock.
    pub ejected_until: Cell<u64>,
}

/// An open request of a worker, until it is dropped.
#[derive(Debug)]
pub struct OpenRequest(Rc<Worker>);

impl OpenRequest {
    /// Counts one more open request of `worker`.
    #[must_use]
    pub fn new(worker: Rc<Worker>) -> Self {
        worker.load.open.set(worker.load.open.get().saturating_add(1));
        Self(worker)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let open = &self.0.load.open;
        open.set(open.get().saturating_sub(1));
    }
}

/// How long the balancer passes over a worker that refused a connection, in milliseconds. It is chosen all the same
/// when nobody else is left, or when a filter names it.
pub const EJECTED_MS: u64 = 1_000;

/// The workers at one moment. A request keeps the list it started with.
#[derive(Debug, Default)]
pub struct Workers {
    list: Vec<Rc<Worker>>,
    by_addr: HashMap<Box<[u8]>, usize>,
}

/// The workers of a cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// What the configuration says about it.
    pub settings: ClusterSettings,
    workers: RefCell<Rc<Workers>>,
}

/// A worker as the file or the table describes it.
struct Description {
    addr: SocketAddr,
    weight: u32,
    takes_new: bool,
}

impl Cluster {
    /// The cluster of `settings`; one whose workers come from the core is empty until [`Cluster::update`].
    #[must_use]
    pub fn new(settings: &ClusterSettings) -> Self {
        let cluster = Self {
            name: settings.name.as_str().into(),
            settings: settings.clone(),
            workers: RefCell::default(),
        };
        if let WorkerSource::List(workers) = &settings.workers {
            let described = workers.iter().map(|w| Description {
                addr: w.addr,
                weight: w.weight,
                takes_new: true,
            });
            cluster.set(described);
        }
        cluster
    }

    /// Applies the core's worker table, if this cluster's workers come from it. Connections to workers that stay in
    /// the table are kept.
    pub fn update(&self, table: &WorkerTable) {
        if !matches!(self.settings.workers, WorkerSource::Core) {
            return;
        }
        self.set(table.workers.iter().filter_map(|worker| {
            if worker.status == WorkerStatus::Disabled {
                return None;
            }
            let Ok(addr) = worker.addr.parse() else {
                tracing::warn!(
                    route = worker.route,
                    addr = worker.addr,
                    "worker has no usable address"
                );
                return None;
            };
            if !worker.url.starts_with("http://") {
                tracing::warn!(
                    route = worker.route,
                    url = worker.url,
                    "only http workers are served"
                );
                return None;
            }
            Some(Description {
                addr,
                weight: worker.weight,
                takes_new: worker.takes_new(),
            })
        }));
    }

    fn set(&self, described: impl Iterator<Item = Description>) {
        let old = self.workers();
        let mut workers = Workers::default();
        for entry in described {
            let addr: Rc<str> = entry.addr.to_string().into();
            if workers.by_addr.contains_key(addr.as_bytes()) {
                continue;
            }
            let known = old.by_addr.get(addr.as_bytes()).and_then(|at| old.list.get(*at));
            let worker = match known {
                Some(known)
                    if known.load.weight == entry.weight && known.load.takes_new == entry.takes_new =>
                {
                    Rc::clone(known)
                }
                known => {
                    let pool = known.map(|worker| Rc::clone(&worker.pool)).unwrap_or_else(|| {
                        Rc::new(Pool::new(
                            Endpoint::Tcp(entry.addr),
                            self.settings.connect_timeout,
                        ))
                    });
                    let load = Load {
                        weight: entry.weight.max(1),
                        takes_new: entry.takes_new,
                        ..Load::default()
                    };
                    Rc::new(Worker {
                        addr: Rc::clone(&addr),
                        load,
                        pool,
                        ejected_until: Cell::new(0),
                    })
                }
            };
            workers.by_addr.insert(addr.as_bytes().into(), workers.list.len());
            workers.list.push(worker);
        }
        *self.workers.borrow_mut() = Rc::new(workers);
    }

    /// The workers now.
    #[must_use]
    pub fn workers(&self) -> Rc<Workers> {
        Rc::clone(&self.workers.borrow())
    }

    /// Closes unused connections.
    pub fn sweep(&self) {
        for worker in &self.workers().list {
            worker.pool.sweep();
        }
    }
}

impl Workers {
    /// The worker of the next attempt: first those in `listed` (the value of `x-limpet-destination`), in order, then
    /// the balancer's choice. At time `now` the balancer passes over ejected workers unless nobody else is left.
    #[must_use]
    pub fn next(&self, plan: &mut Plan, listed: &[u8], balance: Balance, now: u64) -> Option<&Rc<Worker>> {
        let ejected = |at: usize| {
            self.list
                .get(at)
                .is_some_and(|worker| worker.ejected_until.get() > now)
        };
        let loads = || self.list.iter().map(|worker| &worker.load);
        let position = plan.next(
            destination::entries(listed),
            |addr| self.by_addr.get(addr).copied(),
            |plan| {
                let willing = choose(balance, loads(), |at| plan.tried(at) || ejected(at));
                willing.or_else(|| choose(balance, loads(), |at| plan.tried(at)))
            },
        )?;
        self.list.get(position)
    }
}
