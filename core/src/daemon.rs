//! From a configuration to a running node, and to its end.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::http::{Access, Api, Bound, ListenError};
use crate::config::{Config, MembershipConfig};
use crate::drivers::discovery;
use crate::drivers::health::{self, Check};
use crate::drivers::links::{self, LinkConfig};
use crate::drivers::node::{self, Node};
use crate::drivers::quarantine::{Quarantine, QuarantineError};
use crate::drivers::supervisor;
use crate::engine::{ClockLimits, Engine, EngineConfig, Tunables};
use crate::membership::SwimConfig;
use crate::net::tls::{Tls, TlsError};
use crate::replication::message::DeclaredWorker;
use crate::replication::transfer::Cursor;
use crate::service::Service;
use crate::telemetry::log::Log;

mod fault;
mod reload;

/// How long a leaving node waits for its goodbye, and what it still has to tell, to be sent, and in `backup` mode for others
/// to have what only it has.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a daemon cannot start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The certificates.
    #[error("tls.{}: {_0}", _0.key)]
    Tls(#[from] TlsError),
    /// The cluster port.
    #[error("listen.cluster: cannot listen on {addr} or the {autobind} ports after it: {source}")]
    Cluster {
        /// The first address tried.
        addr: SocketAddr,
        /// How many more were tried.
        autobind: u16,
        /// What the last one said.
        source: std::io::Error,
    },
    /// Hints.
    #[error("membership.multicast: cannot join {group} on {interface}: {source}")]
    Multicast {
        /// The group.
        group: SocketAddrV4,
        /// The interface's address.
        interface: Ipv4Addr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The API.
    #[error(transparent)]
    Api(#[from] ListenError),
    /// The quarantine.
    #[error("node.state_dir: {0}")]
    Quarantine(#[from] QuarantineError),
    /// A signal cannot be listened to.
    #[error("signals: {0}")]
    Signal(std::io::Error),
}

/// A node that runs.
#[derive(Debug)]
pub struct Daemon {
    config: Config,
    node: Arc<Node>,
    tls: watch::Sender<Tls>,
    service: Arc<Service>,
    access: watch::Sender<Arc<Access>>,
    bound: Bound,
}

impl Daemon {
    /// Loads certificates, binds everything, and starts the node's tasks on the current runtime.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let tls = Tls::load(&config.tls.files, &config.certified_node())?.renewing(config.tls.renewal);
        let listener = bind_cluster(config.listen.cluster, config.listen.autobind).await?;
        let addr = listener.local_addr().map_err(|source| StartError::Cluster {
            addr: config.listen.cluster,
            autobind: config.listen.autobind,
            source,
        })?;
        let (api, bound) = Api::bind(&config.listen.api).await?;

        let quarantine = Quarantine::load(config.state_dir.as_deref())?;
        let (node, requests) = Node::start(engine_config(&config, addr), quarantine);
        let (tls, tls_versions) = watch::channel(tls);
        let mut links = LinkConfig::new(
            config.cluster.clone(),
            config.domain.clone(),
            config.membership.seeds.clone(),
            config.membership.dns.clone(),
            config.replication.links,
            tls_versions,
        );
        links.compression = config.replication.compress;
        if let Some(hints) = &config.membership.multicast {
            let socket = discovery::open(hints).map_err(|source| StartError::Multicast {
                group: hints.address,
                interface: hints.interface,
                source,
            })?;
            let (domain, tls) = (config.domain.clone(), links.tls.clone());
            essential(
                "multicast",
                discovery::multicast(node.clone(), hints.clone(), domain, tls, socket),
            );
        }
        essential("timers", node::run_timers(node.clone(), requests.timers));
        essential("accept", links::accept_all(node.clone(), links.clone(), listener));
        essential("dial", links::dial_all(node.clone(), links, requests.links));
        essential("ticks", node::run_ticks(node.clone()));
        for worker in &config.workers {
            let check = Check {
                route: worker.route.clone(),
                addr: worker.addr.clone(),
                path: worker.health_path.clone(),
            };
            essential("worker health", health::watch(node.clone(), check));
        }
        let service = Arc::new(Service::new(node.clone(), reload::settings(&config)));
        let (access, access_now) = watch::channel(Arc::new(reload::access(&config)));
        api.serve(&service, &access_now)
            .for_each(|task| essential("api", task));
        tracing::info!(node = %config.node, cluster = config.cluster, %addr, api = ?bound.addrs, "started");
        Ok(Self {
            config,
            node,
            tls,
            service,
            access,
            bound,
        })
    }

    /// Runs until SIGTERM or SIGINT, then leaves the cluster. SIGHUP reads `file`, the configuration, again.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub async fn run(mut self, file: &Path, log: &Log) -> Result<(), StartError> {
        let on = |kind| signal(kind).map_err(StartError::Signal);
        let (mut term, mut int) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
        let mut hup = on(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => self.reload(file, log),
            }
        }
        self.leave().await;
        drop(self.bound);
        Ok(())
    }

    async fn leave(&self) {
        tracing::info!("leaving the cluster");
        if self.config.session.expire_on_shutdown {
            let mut next = Some(Cursor::default());
            while let Some(from) = next {
                next = self.node.with(|engine, now| engine.delete_some(&from, now));
                tokio::task::yield_now().await;
            }
        }
        self.node.with(Engine::leave);
        let drained = async {
            while !self.node.with(|engine, _| engine.is_drained()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Handed to the links' tasks; they need a moment to hand it to the kernel.
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        if tokio::time::timeout(LEAVE_PATIENCE, drained).await.is_err() {
            let sessions = self.node.with(|engine, _| engine.misplaced_len());
            tracing::warn!(
                sessions,
                "some peers took no goodbye, or not all sessions, in time"
            );
        }
    }
}

/// Runs a task without which the node must not go on.
fn essential(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    if fault::fails(name) {
        supervisor::spawn(name, fault::strike(task));
    } else {
        supervisor::spawn(name, task);
    }
}

async fn bind_cluster(addr: SocketAddr, autobind: u16) -> Result<TcpListener, StartError> {
    let mut tried = TcpListener::bind(addr).await;
    for next in 1..=autobind {
        match (&tried, addr.port().checked_add(next)) {
            (Err(error), Some(port)) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tried = TcpListener::bind((addr.ip(), port)).await;
            }
            _ => break,
        }
    }
    tried.map_err(|source| StartError::Cluster {
        addr,
        autobind,
        source,
    })
}

fn engine_config(config: &Config, addr: SocketAddr) -> EngineConfig {
    let workers = config.workers.iter().map(|worker| DeclaredWorker {
        route: worker.route.clone(),
        url: worker.url.clone(),
        addr: worker.addr.clone(),
        weight: worker.weight,
        healthy: false, // until its first check
    });
    let Tunables {
        state_transfer_timeout,
        max_inactive,
        max_active,
        touch_interval,
        rename_forward,
    } = reload::tunables(config);
    let MembershipConfig {
        seeds,
        dns,
        multicast,
        ..
    } = &config.membership;
    let dns = dns.iter().map(|lookup| lookup.name.clone());
    let seeds = seeds.iter().cloned().chain(dns);
    EngineConfig {
        node: config.node.clone(),
        cluster: config.cluster.clone(),
        addr,
        swim: SwimConfig {
            probe_interval: config.membership.probe_interval,
            drop_time: config.membership.drop_time,
        },
        seeds: seeds.collect(),
        hints: multicast.is_some(),
        mode: config.replication.mode,
        quorum_founders: config.session_server.quorum_founders,
        links: config.replication.links.into(),
        queue_bytes: config.replication.queue_bytes,
        donor_transfers: config.replication.donor_transfers,
        repair_interval: config.replication.repair_interval,
        state_transfer_timeout,
        max_inactive,
        max_active,
        touch_interval,
        rename_forward,
        tombstone_life: config.replication.tombstone_life,
        clocks: ClockLimits {
            max_skew: config.replication.max_skew,
            max_drift_warning: config.membership.max_drift_warning,
        },
        quarantine: std::collections::BTreeSet::new(), // see Node::start
        fail_on_id: fault::fail_on_id(),
        workers: workers.collect(),
        seed: rand::random(),
    }
}
