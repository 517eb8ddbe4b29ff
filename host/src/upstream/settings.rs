//! The settings of one `[[cluster]]` of the configuration. Reading the file is left to `config`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::balance::Balance;

/// A group of workers.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// Its name.
    pub name: String,
    /// Where its workers come from.
    pub workers: WorkerSource,
    /// How a worker is chosen for a request without a destination.
    pub balance: Balance,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long a worker may take to begin its answer, and how long an answer may stand still.
    pub response_timeout: Duration,
    /// The most attempts per request, the first one included.
    pub attempts: u32,
}

/// Where the workers of a cluster come from.
#[derive(Debug, Clone)]
pub enum WorkerSource {
    /// The core's worker table, as it changes.
    Core,
    /// A fixed list.
    List(Vec<StaticWorker>),
}

/// A worker of a fixed list.
#[derive(Debug, Clone)]
pub struct StaticWorker {
    /// Its route: its name in session ids.
    pub route: String,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its share of requests, relative to the others.
    pub weight: u32,
}
