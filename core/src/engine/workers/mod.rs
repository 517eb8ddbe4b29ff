//! The workers of the cluster and the worker table, which is what this node tells filters and proxies of them.
//!
//! [`Workers`] holds what the table is made of: this node's workers and their health, what other nodes announced of
//! theirs, admin states and token keys, which are read from the cluster's own sessions, and the routes that departed. The
//! table is made anew by [`Workers::refresh`], which needs to know of every node only whether it serves. When that is to
//! happen is decided in [`super::changed`]; health checks belong to [`crate::drivers::health`].

pub mod admin_state;
mod departed;
pub mod token_keys;

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
use limpet_wire::token::TokenKey;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::{LEFT_REMEMBERED_FOR, REDIAL_DOWN_FOR};
use crate::engine::changed::Changed;
use crate::engine::{Engine, Output, Phase};
use crate::membership::{MemberState, Roster};
use crate::replication::message::DeclaredWorker;
use crate::session::{Record, Stamp};
use admin_state::AdminStates;
use departed::DepartedRoutes;
use token_keys::TokenKeys;

/// How often nodes that are gone for good are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// What a node's state means for its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Serving {
    /// Those that pass their health checks serve.
    Yes,
    /// None serves yet: the node does not have the whole table.
    NotYet,
    /// None serves: the node is gone or is leaving.
    No,
}

impl Serving {
    const fn status(self, healthy: bool) -> WorkerStatus {
        match self {
            Self::Yes if healthy => WorkerStatus::Up,
            Self::NotYet => WorkerStatus::NotReady,
            Self::Yes | Self::No => WorkerStatus::Down,
        }
    }
}

/// See the module page.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Workers {
    node: NodeId,
    own: Vec<DeclaredWorker>,
    /// By node. Nodes that are gone for good are forgotten, so there are about as many as members.
    announced: BTreeMap<NodeId, Vec<DeclaredWorker>>,
    departed: DepartedRoutes,
    admin: AdminStates,
    keys: TokenKeys,
    version: TableVersion,
    /// The declared workers of the table, sorted by route; a route appears once.
    rows: Vec<Worker>,
    /// The versions of keys and departed routes in the table.
    shown: (Stamp, u64),
    next_forget: Duration,
}

impl Workers {
    /// The workers of `node` alone, which starts at `epoch` in milliseconds since 1970. The table is still empty.
    pub(in crate::engine) fn new(node: NodeId, own: Vec<DeclaredWorker>, epoch: u64) -> Self {
        Self {
            node,
            own,
            announced: BTreeMap::new(),
            departed: DepartedRoutes::default(),
            admin: AdminStates::default(),
            keys: TokenKeys::default(),
            version: TableVersion { epoch, number: 1 },
            rows: Vec::new(),
            shown: Default::default(),
            next_forget: Duration::ZERO,
        }
    }

    /// The same of a node that starts over: it keeps what it knows by itself and forgets what it was told. Versions of
    /// the table go on.
    pub(in crate::engine) fn started_over(self) -> Self {
        Self {
            departed: self.departed,
            version: self.version,
            ..Self::new(self.node, self.own, 0)
        }
    }

    /// This node's workers.
    pub(in crate::engine) fn own(&self) -> &[DeclaredWorker] {
        &self.own
    }

    /// The declared workers of the table, sorted by route.
    pub(in crate::engine) fn rows(&self) -> &[Worker] {
        &self.rows
    }

    /// The worker `route`, if somebody declares it.
    pub(in crate::engine) fn by_route(&self, route: &str) -> Option<&Worker> {
        let at = self
            .rows
            .binary_search_by(|worker| (*worker.route).cmp(route))
            .ok()?;
        self.rows.get(at)
    }

    /// The node that declares `route`.
    pub(in crate::engine) fn owner_of(&self, route: &str) -> Option<&str> {
        self.by_route(route).map(|worker| worker.node.as_str())
    }

    /// A worker of this node passed or failed its health check. Says whether that is new.
    fn set_health(&mut self, route: &str, healthy: bool) -> bool {
        let worker = self.own.iter_mut().find(|worker| worker.route == route);
        worker.is_some_and(|worker| std::mem::replace(&mut worker.healthy, healthy) != healthy)
    }

    /// `node` declares `workers`, and no others any more.
    pub(in crate::engine) fn announce(&mut self, node: &NodeId, workers: Vec<DeclaredWorker>, now: Duration) {
        for worker in &workers {
            self.departed.remove(&worker.route);
        }
        let stays = |route: &str| workers.iter().any(|worker| worker.route == route);
        let before = self.announced.get(node).into_iter().flatten();
        let gone: Vec<_> = before
            .filter(|worker| !stays(&worker.route))
            .map(|worker| worker.route.clone())
            .collect();
        self.announced.insert(node.clone(), workers);
        gone.into_iter().for_each(|route| self.depart(route, node, now));
    }

    /// What `node` announced is outdated: its workers count as unhealthy until it announces them again.
    pub(in crate::engine) fn distrust(&mut self, node: &NodeId) {
        let workers = self.announced.get_mut(node).into_iter().flatten();
        workers.for_each(|worker| worker.healthy = false);
    }

    /// Forgets nodes that are gone for good, and routes that departed too long ago, now and then. Says whether there
    /// were any.
    fn forget(&mut self, is_gone: impl Fn(&NodeId) -> bool, now: Duration) -> bool {
        if now < self.next_forget {
            return false;
        }
        self.next_forget = now + FORGET_INTERVAL;
        let gone: Vec<_> = self
            .announced
            .keys()
            .filter(|node| is_gone(node))
            .cloned()
            .collect();
        for node in &gone {
            let workers = self.announced.remove(node).unwrap_or_default();
            workers
                .into_iter()
                .for_each(|worker| self.depart(worker.route, node, now));
        }
        self.departed.expire(now) || !gone.is_empty()
    }

    /// `node` does not declare `route` any more. Somebody else may.
    fn depart(&mut self, route: String, node: &NodeId, now: Duration) {
        let mut declared = self.own.iter().chain(self.announced.values().flatten());
        if !declared.any(|worker| worker.route == route) {
            self.departed.add(route, node.clone(), now);
        }
    }

    /// Takes over admin states and token keys from the sessions that hold them.
    fn read(&mut self, admin: Option<&Record>, keys: Option<&Record>) {
        self.admin = AdminStates::read(admin);
        self.keys.read(keys);
    }

    /// Makes the table anew, where `own` says whether this node serves and `others` whether another does. If anything
    /// changed, the table gets its next version; the declared workers it had before are returned.
    fn refresh(&mut self, own: Serving, others: impl Fn(&NodeId) -> Serving) -> Option<Vec<Worker>> {
        let rows = self.derive(own, others);
        let shown = (self.keys.version(), self.departed.version());
        if rows == self.rows && shown == self.shown {
            return None;
        }
        self.shown = shown;
        self.version.number += 1;
        Some(std::mem::replace(&mut self.rows, rows))
    }

    /// The rows as they should be now.
    fn derive(&self, own: Serving, others: impl Fn(&NodeId) -> Serving) -> Vec<Worker> {
        let own = self.own.iter().map(|worker| (&self.node, own, worker));
        let others = self.announced.iter().flat_map(|(node, workers)| {
            let serving = others(node);
            workers.iter().map(move |worker| (node, serving, worker))
        });
        let all = own.chain(others);
        let mut rows: Vec<_> = all
            .map(|(node, serving, worker)| {
                let status = self.admin.apply(&worker.route, serving.status(worker.healthy));
                row(worker, status, node)
            })
            .collect();
        // Of two nodes that declare one route, the one that can serve is shown; of equals, the first by name.
        rows.sort_by(|a, b| {
            (&a.route, !a.takes_bound(), &a.node).cmp(&(&b.route, !b.takes_bound(), &b.node))
        });
        rows.dedup_by(|later, first| later.route == first.route);
        rows
    }

    /// The table's rows, with those of departed routes.
    fn all_rows(&self) -> Vec<Worker> {
        let departed = self.departed.rows();
        let mut rows = self.rows.clone();
        rows.extend(departed.filter(|row| self.by_route(&row.route).is_none()));
        rows.sort_by(|a, b| a.route.cmp(&b.route));
        rows
    }

    fn token_keys(&self, now_ms: u64) -> Vec<TokenKey> {
        self.keys.sealing_first(now_ms)
    }
}

fn row(worker: &DeclaredWorker, status: WorkerStatus, node: &NodeId) -> Worker {
    Worker {
        route: worker.route.clone(),
        url: worker.url.clone(),
        addr: worker.addr.clone(),
        weight: worker.weight,
        status,
        node: node.as_str().to_owned(),
    }
}

impl Engine {
    /// The worker table for filters and proxies, with routes that departed: see [`limpet_wire::table`].
    #[must_use]
    pub fn worker_table(&self, now_ms: u64) -> WorkerTable {
        WorkerTable {
            cluster: self.config.cluster.clone(),
            version: self.workers.version,
            keys: self.workers.token_keys(now_ms),
            workers: self.workers.all_rows(),
        }
    }

    /// The workers that some node declares, sorted by route.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        self.workers.rows()
    }

    /// The table's version.
    #[must_use]
    pub const fn table_version(&self) -> TableVersion {
        self.workers.version
    }

    /// This node's workers, and whether each passes its health check.
    #[must_use]
    pub fn own_workers(&self) -> &[DeclaredWorker] {
        self.workers.own()
    }

    /// A worker of this node passed or failed its health check.
    pub fn worker_health(&mut self, route: &str, healthy: bool, now: Now) {
        if self.workers.set_health(route, healthy) {
            tracing::info!(route, healthy, "worker");
            self.changed.note(Changed::WORKERS);
            self.announce();
            self.settle(now);
        }
    }

    /// What `node` announced of its workers is outdated, unless there is a link to it.
    pub(in crate::engine) fn distrust_workers(&mut self, node: &NodeId) {
        if !self
            .members
            .roster()
            .get(node)
            .is_some_and(|member| member.linked)
        {
            self.workers.distrust(node);
            self.changed.note(Changed::WORKERS);
        }
    }

    /// Forgets the workers of nodes that are gone for good: that nobody dials any more, or that left some time ago.
    pub(in crate::engine) fn forget_workers(&mut self, now: Now) {
        let roster = self.members.roster();
        let is_gone = |node: &NodeId| {
            roster.get(node).is_none_or(|member| {
                let patience = if member.leaving {
                    LEFT_REMEMBERED_FOR
                } else {
                    REDIAL_DOWN_FOR
                };
                !member.active && !member.linked && now.mono.saturating_sub(member.since) >= patience
            })
        };
        if self.workers.forget(is_gone, now.mono) {
            self.changed.note(Changed::WORKERS);
        }
    }

    /// How many live records of the table are the cluster's own and no user's sessions.
    pub(in crate::engine) fn reserved_records(&self) -> usize {
        let keys = [admin_state::session(), token_keys::session()].into_iter();
        let records = keys.filter_map(|key| self.table.get(key));
        records.filter(|record| record.is_alive()).count()
    }

    /// Takes over what the cluster's own sessions hold.
    pub(in crate::engine) fn read_reserved(&mut self) {
        let (admin, keys) = (admin_state::session(), token_keys::session());
        self.workers.read(self.table.get(admin), self.table.get(keys));
    }

    /// Whether the worker table is what members, workers, the phase and the cluster's own sessions make of it.
    pub(in crate::engine) fn is_table_current(&self) -> bool {
        let mut fresh = self.workers.clone();
        let (admin, keys) = (admin_state::session(), token_keys::session());
        fresh.read(self.table.get(admin), self.table.get(keys));
        let (own, others) = (serving_here(&self.phase), serving_there(self.members.roster()));
        fresh.refresh(own, others).is_none()
    }

    /// Makes the worker table anew. Says whether its declared workers changed.
    pub(in crate::engine) fn refresh_table(&mut self) -> bool {
        let (own, others) = (serving_here(&self.phase), serving_there(self.members.roster()));
        let Some(before) = self.workers.refresh(own, others) else {
            return false;
        };
        self.outputs.push(Output::Table(self.workers.version));
        self.events.tell_workers(&before, self.workers.rows());
        before != self.workers.rows()
    }
}

const fn serving_here(phase: &Phase) -> Serving {
    match phase {
        Phase::Joining { .. } => Serving::NotYet,
        Phase::Ready => Serving::Yes,
        Phase::Leaving => Serving::No,
    }
}

fn serving_there(roster: &Roster) -> impl Fn(&NodeId) -> Serving {
    |node| match roster.get(node).map(|member| (member.state(), member.ready)) {
        // A broken link is looked into at once; until then its workers are not known to be gone.
        Some((MemberState::Ready | MemberState::Suspect, true)) => Serving::Yes,
        Some((MemberState::Joining | MemberState::Suspect, false)) => Serving::NotYet,
        _ => Serving::No,
    }
}

#[cfg(test)]
mod tests;
