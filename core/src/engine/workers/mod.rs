//! The worker table: what this node tells filters and proxies of every node's workers.

pub mod admin_state;
mod token_keys;

use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};

use crate::base::id::NodeId;
use crate::engine::{Engine, Output, Phase};
use crate::membership::MemberState;
use crate::replication::message::DeclaredWorker;

impl Engine {
    /// The table as it is now.
    #[must_use]
    pub fn worker_table(&self, now_ms: u64) -> WorkerTable {
        WorkerTable {
            cluster: self.config.cluster.clone(),
            version: self.table_version,
            keys: self.token_keys(now_ms),
            workers: self.last_routes.clone(),
        }
    }

    /// The table's version.
    #[must_use]
    pub const fn table_version(&self) -> TableVersion {
        self.table_version
    }

    /// This node's workers, and whether each passes its health check.
    #[must_use]
    pub fn own_workers(&self) -> &[DeclaredWorker] {
        &self.workers
    }

    /// A worker of this node passed or failed its health check.
    pub fn worker_health(&mut self, route: &str, healthy: bool) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.route == route) else {
            return;
        };
        if worker.healthy == healthy {
            return;
        }
        worker.healthy = healthy;
        tracing::info!(route, healthy, "worker");
        self.announce();
        self.refresh_table();
    }

    /// What `node` said of its workers is of the past: they are down until it says otherwise.
    pub(in crate::engine) fn distrust_workers(&mut self, node: &NodeId) {
        if !self.roster.get(node).is_some_and(|member| member.linked) {
            self.announced
                .get_mut(node)
                .into_iter()
                .flatten()
                .for_each(|worker| worker.healthy = false);
        }
    }

    /// The node that declares `route`.
    pub(in crate::engine) fn owner_of(&self, route: &str) -> Option<&str> {
        self.last_routes
            .iter()
            .find(|worker| worker.route == route)
            .map(|worker| worker.node.as_str())
    }

    /// Makes the table anew; a change gives it a new version.
    pub(in crate::engine) fn refresh_table(&mut self) {
        self.tell_members();
        self.view_stale = true; // what changes this table may change where sessions belong
        let own = self.workers.iter().map(|worker| {
            let status = match self.phase {
                Phase::Joining { .. } => WorkerStatus::NotReady,
                Phase::Ready if worker.healthy => WorkerStatus::Up,
                Phase::Ready | Phase::Leaving => WorkerStatus::Down,
            };
            shown(worker, status, self.config.node.as_str())
        });
        let others = self.announced.iter().flat_map(|(node, workers)| {
            let member = self.roster.get(node);
            workers.iter().map(move |worker| {
                let status = match member.map(|member| (member.state(), member.ready)) {
                    // A broken link is looked into at once; until then its workers are not known to be gone.
                    Some((MemberState::Ready | MemberState::Suspect, true)) if worker.healthy => {
                        WorkerStatus::Up
                    }
                    Some((MemberState::Joining | MemberState::Suspect, false)) => WorkerStatus::NotReady,
                    _ => WorkerStatus::Down,
                };
                shown(worker, status, node.as_str())
            })
        });
        let mut table: Vec<_> = own.chain(others).collect();
        for worker in &mut table {
            worker.status = self.admin_state(&worker.route).applied_to(worker.status);
        }
        // Of two nodes that declare one route, the one that can serve is shown; of equals, the first by name.
        table.sort_by(|a, b| {
            (&a.route, !a.takes_bound(), &a.node).cmp(&(&b.route, !b.takes_bound(), &b.node))
        });
        table.dedup_by(|later, first| later.route == first.route);
        // A key that settles changes what seals without changing this; filters learn of it with the next change,
        // and every key opens until then.
        let keys_version = self.keys_version();
        if table != self.last_routes || keys_version != self.shown_keys {
            self.tell_workers(&table);
            self.last_routes = table;
            self.shown_keys = keys_version;
            self.table_version.number += 1;
            self.outputs.push(Output::Table(self.table_version));
        }
    }
}

fn shown(worker: &DeclaredWorker, status: WorkerStatus, node: &str) -> Worker {
    Worker {
        route: worker.route.clone(),
        url: worker.url.clone(),
        addr: worker.addr.clone(),
        weight: worker.weight,
        status,
        node: node.to_owned(),
    }
}
