//! The engine's configuration: what it is given at its start, and the part that may change while it runs.
//!
//! Reading and validating the file belongs to [`crate::config`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use limpet_wire::report::IdleLimit;

use crate::base::id::{NodeId, SessionKey};
use crate::membership::SwimConfig;
use crate::replication::message::DeclaredWorker;

/// Which nodes hold a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every node of the domain.
    Delta,
    /// The node of the worker it is bound to, and some others.
    Backup {
        /// How many others.
        copies: usize,
    },
}

/// What the engine needs of the configuration.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// How fast a silent member is found.
    pub swim: SwimConfig,
    /// Seeds and the DNS name, as written. Every address of theirs has to answer before a node that finds nobody with the
    /// table starts without one.
    pub seeds: BTreeSet<String>,
    /// Whether hints are listened to.
    pub hints: bool,
    /// How many links this node makes to each peer.
    pub links: usize,
    /// Which nodes hold a session.
    pub mode: Mode,
    /// Where conditional changes are decided by majority: how many nodes the cluster is founded with. `None`: their owner
    /// decides by the view it has.
    pub quorum_founders: Option<usize>,
    /// How many bytes of changes wait for one peer at most. Past it they are dropped and repaired.
    pub queue_bytes: usize,
    /// How many nodes this one sends parts of the table at a time.
    pub donor_transfers: usize,
    /// How often tables are compared with some of the peers.
    pub repair_interval: Duration,
    /// How long a joining node waits without getting anything of the table before it starts with what it has.
    /// `None`: it waits for ever.
    pub state_transfer_timeout: Option<Duration>,
    /// The idle lifetime of sessions that are given none.
    pub max_inactive: IdleLimit,
    /// The most sessions; `None` for no limit.
    pub max_active: Option<usize>,
    /// How often at most a touch of one session is sent to other nodes.
    pub touch_interval: Duration,
    /// How long a tombstone of a session is kept.
    pub tombstone_life: Duration,
    /// For how long, since a node heard of a rename, writes follow that name the life they read, and reports of requests
    /// that began before.
    pub rename_forward: Duration,
    /// What is believed of other nodes' clocks.
    pub clocks: ClockLimits,
    /// Sessions a change of which made an earlier incarnation of this process panic: other nodes' changes of them are
    /// refused, and counted.
    pub quarantine: BTreeSet<SessionKey>,
    /// Fault injection, for tests: a change from another node to a session of this id panics. `None` in the product.
    pub fail_on_id: Option<String>,
    /// This node's workers.
    pub workers: Vec<DeclaredWorker>,
    /// Seeds the choices of membership and the numbers of requests. No secret is made of it.
    pub seed: u64,
}

/// What is believed of other nodes' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLimits {
    /// How far ahead of this node's clock a stamp may be. One that is further ahead is refused and counted.
    pub max_skew: Duration,
    /// How far a member's clock may be from this one's before the log warns of it.
    pub max_drift_warning: Duration,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self {
            max_skew: Duration::from_secs(60),
            max_drift_warning: Duration::from_secs(1),
        }
    }
}

/// The part of the configuration that may change while the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunables {
    /// How long a joining node waits without getting anything of the table before it starts with what it has. `None`: for
    /// ever.
    pub state_transfer_timeout: Option<Duration>,
    /// The idle lifetime of sessions that are given none and begin from now on.
    pub max_inactive: IdleLimit,
    /// The most sessions; `None` for no limit. Those there are stay.
    pub max_active: Option<usize>,
    /// How often at most a touch of one session is sent to other nodes.
    pub touch_interval: Duration,
    /// For how long, since a node heard of a rename, writes follow that name the life they read, and reports of requests
    /// that began before.
    pub rename_forward: Duration,
}
