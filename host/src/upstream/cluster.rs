//! The workers of one `[[cluster]]`, as one thread sees them now.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use limpet_wire::table::{WorkerStatus, WorkerTable};

use super::endpoint::Endpoint;
use super::pool::Pool;
use crate::balance::plan::Plan;
use crate::balance::{Balance, Load, choose};
use crate::config;
use crate::message::destination;

/// A worker.
#[derive(Debug)]
pub struct Host {
    /// `ip:port`, the form filters know it by.
    pub addr: Rc<str>,
    /// Its share.
    pub load: Load,
    /// Its connections.
    pub pool: Rc<Pool>,
    /// Until when it is spared, on the thread's clock, because it refused a connection.
    pub spared_until: Cell<u64>,
}

/// How long a worker that refused a connection gets no request that another one could serve, in milliseconds.
/// A filter may name it all the same.
pub const SPARED_MS: u64 = 1_000;

/// The workers at one moment. A request keeps the ones it started with.
#[derive(Debug, Default)]
pub struct Hosts {
    list: Vec<Rc<Host>>,
    by_addr: HashMap<Box<[u8]>, usize>,
}

/// The workers of a cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// What the file says about it.
    pub config: config::Cluster,
    hosts: RefCell<Rc<Hosts>>,
}

/// A worker as the file or the table describes it.
struct Description {
    addr: SocketAddr,
    weight: u32,
    takes_new: bool,
}

impl Cluster {
    /// The cluster of `config`; one whose workers come from the core is empty until [`Cluster::update`].
    #[must_use]
    pub fn new(config: &config::Cluster) -> Self {
        let cluster = Self {
            name: config.name.as_str().into(),
            config: config.clone(),
            hosts: RefCell::default(),
        };
        if let config::Workers::List(workers) = &config.workers {
            let described = workers.iter().map(|w| Description {
                addr: w.addr,
                weight: w.weight,
                takes_new: true,
            });
            cluster.set(described);
        }
        cluster
    }

    /// Takes over the core's table, if this cluster comes from it. Connections to workers that stay are kept.
    pub fn update(&self, table: &WorkerTable) {
        if !matches!(self.config.workers, config::Workers::Core) {
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
        let old = self.hosts();
        let mut hosts = Hosts::default();
        for worker in described {
            let addr: Rc<str> = worker.addr.to_string().into();
            if hosts.by_addr.contains_key(addr.as_bytes()) {
                continue;
            }
            let known = old.by_addr.get(addr.as_bytes()).and_then(|at| old.list.get(*at));
            let host = match known {
                Some(host)
                    if host.load.weight == worker.weight && host.load.takes_new == worker.takes_new =>
                {
                    Rc::clone(host)
                }
                known => {
                    let pool = known.map(|host| Rc::clone(&host.pool)).unwrap_or_else(|| {
                        Rc::new(Pool::new(Endpoint::Tcp(worker.addr), self.config.connect_timeout))
                    });
                    let load = Load {
                        weight: worker.weight.max(1),
                        takes_new: worker.takes_new,
                        ..Load::default()
                    };
                    Rc::new(Host {
                        addr: Rc::clone(&addr),
                        load,
                        pool,
                        spared_until: Cell::new(0),
                    })
                }
            };
            hosts.by_addr.insert(addr.as_bytes().into(), hosts.list.len());
            hosts.list.push(host);
        }
        *self.hosts.borrow_mut() = Rc::new(hosts);
    }

    /// The workers now.
    #[must_use]
    pub fn hosts(&self) -> Rc<Hosts> {
        Rc::clone(&self.hosts.borrow())
    }

    /// Closes unused connections.
    pub fn sweep(&self) {
        for host in &self.hosts().list {
            host.pool.sweep();
        }
    }
}

impl Hosts {
    /// The worker of the next attempt: `listed` first, in the form of `x-limpet-destination`, then the balancer,
    /// which `now` spares those that refused a connection just before, unless there is nobody else.
    #[must_use]
    pub fn next(&self, plan: &mut Plan, listed: &[u8], balance: Balance, now: u64) -> Option<&Rc<Host>> {
        let spared = |at: usize| {
            self.list
                .get(at)
                .is_some_and(|host| host.spared_until.get() > now)
        };
        let loads = || self.list.iter().map(|host| &host.load);
        let position = plan.next(
            destination::entries(listed),
            |addr| self.by_addr.get(addr).copied(),
            |plan| {
                let willing = choose(balance, loads(), |at| plan.tried(at) || spared(at));
                willing.or_else(|| choose(balance, loads(), |at| plan.tried(at)))
            },
        )?;
        self.list.get(position)
    }

    /// Whether there is no worker at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
