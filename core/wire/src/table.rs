//! The worker table: what a core tells filters and proxies about the cluster it sees.

use bincode::{Decode, Encode};

use crate::token::TokenKey;

/// Everything a router needs to place a request without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct WorkerTable {
    /// The cluster's name; part of what a token is sealed to.
    pub cluster: String,
    /// Which table of which core this is.
    pub version: TableVersion,
    /// Keys of the token cookie: the first one seals, every one opens.
    pub keys: Vec<TokenKey>,
    /// Every worker of every known node, ordered by route.
    pub workers: Vec<Worker>,
}

/// Orders the tables of one core. Versions of two epochs are only ever equal or different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
pub struct TableVersion {
    /// When the core that made the table started, in milliseconds since 1970.
    pub epoch: u64,
    /// Rises by one with each change.
    pub number: u64,
}

impl std::fmt::Display for TableVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl std::str::FromStr for TableVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, number) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self {
            epoch: epoch.parse()?,
            number: number.parse()?,
        })
    }
}

/// One application server.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Worker {
    /// Its name in session ids (Tomcat: jvmRoute). Case counts.
    pub route: String,
    /// Its base URL, as declared.
    pub url: String,
    /// `ip:port` of that URL, IPv6 in brackets: the form proxies know a host by.
    pub addr: String,
    /// Its share of new sessions, 1 or more.
    pub weight: u32,
    /// Whether it may be routed to.
    pub status: WorkerStatus,
    /// The node whose core declares it.
    pub node: String,
}

/// What may be sent to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WorkerStatus {
    /// Everything.
    Up,
    /// Bound sessions only.
    Draining,
    /// Nothing: an operator said so.
    Disabled,
    /// Nothing: it fails its health check, or its node is gone.
    Down,
    /// Nothing yet: its node is still receiving the session table.
    NotReady,
}

impl WorkerStatus {
    /// The name used in JSON and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::Down => "down",
            Self::NotReady => "not_ready",
        }
    }
}

impl Worker {
    /// Whether a request of a session bound here may come.
    #[must_use]
    pub const fn takes_bound(&self) -> bool {
        matches!(self.status, WorkerStatus::Up | WorkerStatus::Draining)
    }

    /// Whether a request without a session may come.
    #[must_use]
    pub const fn takes_new(&self) -> bool {
        matches!(self.status, WorkerStatus::Up)
    }
}

impl WorkerTable {
    /// The worker with this route.
    #[must_use]
    pub fn by_route(&self, route: &str) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.route == route)
    }

    /// The worker at this `ip:port`.
    #[must_use]
    pub fn by_addr(&self, addr: &str) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.addr == addr)
    }
}
