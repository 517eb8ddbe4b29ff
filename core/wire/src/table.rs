//! The worker table: every worker of the cluster as one core sees it, with the token keys.
//!
//! A core serves it, filters and `limpet-host` route by it. It holds no sessions. A worker that nobody declares any more
//! leaves a row with its route alone ([`Worker::is_departed`]), by which the route in a session id is still recognised.
//! How a core derives the table, and how a filter keeps it fresh, is theirs.

use bincode::{Decode, Encode};

use crate::token::TokenKey;

/// Everything a router needs to choose a worker without a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct WorkerTable {
    /// The cluster's name; part of the associated data of every token.
    pub cluster: String,
    /// Which table of which core this is.
    pub version: TableVersion,
    /// Keys of the token cookie: the first one seals, any of them opens.
    pub keys: Vec<TokenKey>,
    /// Every worker of every known node and every departed route, sorted by route; a route appears once.
    pub workers: Vec<Worker>,
}

/// The version of a table. Versions of one epoch are ordered by number; those of two epochs are not comparable.
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
    /// Its base URL, as declared; empty for a departed route.
    pub url: String,
    /// `ip:port` of that URL, IPv6 in brackets: the form proxies know a host by. Empty for a departed route.
    pub addr: String,
    /// Its relative share of new sessions, 1 or more; 0 for a departed route.
    pub weight: u32,
    /// Whether it may be routed to.
    pub status: WorkerStatus,
    /// The node whose core declares it.
    pub node: String,
}

/// Which requests may go to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WorkerStatus {
    /// All.
    Up,
    /// Those of sessions bound to it; no new sessions.
    Draining,
    /// None: an operator disabled it, or its route departed.
    Disabled,
    /// None: it fails its health check, or its node is down.
    Down,
    /// None yet: its node is still receiving the session table.
    NotReady,
}

impl WorkerStatus {
    /// The name in JSON and metrics.
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
    /// Whether this is only the name of a route whose worker nobody declares any more.
    #[must_use]
    pub const fn is_departed(&self) -> bool {
        self.addr.is_empty()
    }

    /// Whether requests of sessions bound to it may go there.
    #[must_use]
    pub const fn takes_bound(&self) -> bool {
        matches!(self.status, WorkerStatus::Up | WorkerStatus::Draining)
    }

    /// Whether requests without a session may go there.
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
        let mut declared = self.workers.iter().filter(|worker| !worker.is_departed());
        declared.find(|worker| worker.addr == addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_departed_route_is_found_by_its_name_and_at_no_address() {
        let departed = Worker {
            route: "gone".into(),
            url: String::new(),
            addr: String::new(),
            weight: 0,
            status: WorkerStatus::Disabled,
            node: "node1".into(),
        };
        let table = WorkerTable {
            workers: vec![departed],
            ..WorkerTable::default()
        };
        assert!(table.by_route("gone").is_some_and(Worker::is_departed));
        assert_eq!(table.by_addr(""), None);
    }
}
