//! The destinations of a request: the workers it may go to, most preferred first.
//!
//! For a bound session these are its worker, then workers of the nodes that hold a copy, by the rendezvous placement
//! that the cores use. A worker that takes no requests is never in the list. Which worker a request is bound to is
//! decided by the [`crate::levels`].

use std::cmp::Reverse;

use limpet_wire::placement;
use limpet_wire::table::{Worker, WorkerTable};

/// The most destinations named to the proxy; a request that failed at so many workers is not retried further.
pub const DESTINATIONS_MAX: usize = 4;

/// A list of usable workers without duplicates, at most [`DESTINATIONS_MAX`].
#[derive(Debug)]
pub struct Destinations<'t> {
    table: &'t WorkerTable,
    workers: Vec<&'t Worker>,
}

impl<'t> Destinations<'t> {
    /// An empty list over the workers of `table`.
    #[must_use]
    pub fn new(table: &'t WorkerTable) -> Self {
        Self {
            table,
            workers: Vec::new(),
        }
    }

    /// Adds the worker of `route`, if the table has it and it takes bound sessions.
    pub fn push(&mut self, route: &str) {
        if let Some(worker) = self.table.by_route(route) {
            self.push_worker(worker);
        }
    }

    /// Adds `worker`, if it takes bound sessions and is not in the list.
    pub fn push_worker(&mut self, worker: &'t Worker) {
        let known = self.workers.iter().any(|other| other.addr == worker.addr);
        if worker.takes_bound() && !known && self.workers.len() < DESTINATIONS_MAX {
            self.workers.push(worker);
        }
    }

    /// Adds the workers of the nodes that hold `(app, id)`: by the nodes' rank one worker of each node but the bound
    /// worker's own; then the other workers of those nodes; then those of the bound worker's own node. Draining workers
    /// come last.
    pub fn push_holders(&mut self, app: &str, id: &str, bound: &str) {
        if self.workers.len() >= DESTINATIONS_MAX {
            return;
        }
        let home = self.table.by_route(bound).map(|worker| worker.node.as_str());
        let mut nodes: Vec<&'t str> = Vec::new();
        for worker in self.table.workers.iter().filter(|worker| worker.takes_bound()) {
            if !nodes.contains(&worker.node.as_str()) {
                nodes.push(&worker.node);
            }
        }
        placement::rank(&mut nodes, app, id);
        let place = |worker: &Worker| nodes.iter().position(|node| *node == worker.node);
        let mut all: Vec<&'t Worker> = self
            .table
            .workers
            .iter()
            .filter(|worker| worker.takes_bound())
            .collect();
        all.sort_by_cached_key(|worker| {
            let score = placement::score(&worker.route, app, id);
            (!worker.takes_new(), place(worker), Reverse(score))
        });
        let mut listed: Vec<&str> = Vec::new();
        let mut later: Vec<&'t Worker> = Vec::new();
        for worker in all {
            let node = worker.node.as_str();
            if home == Some(node) || listed.contains(&node) {
                later.push(worker);
            } else {
                listed.push(node);
                self.push_worker(worker);
            }
        }
        later.sort_by_key(|worker| home == Some(worker.node.as_str()));
        later.into_iter().for_each(|worker| self.push_worker(worker));
    }

    /// The workers of the list.
    #[must_use]
    pub fn into_workers(self) -> Vec<&'t Worker> {
        self.workers
    }
}

/// The routes to go to when the worker of `bound` is unavailable, most preferred first, at most `max`: the fallbacks
/// of a token.
#[must_use]
pub fn fallbacks(table: &WorkerTable, app: &str, id: &str, bound: &str, max: usize) -> Vec<String> {
    let mut destinations = Destinations::new(table);
    destinations.push_holders(app, id, bound);
    let others = destinations
        .into_workers()
        .into_iter()
        .map(|worker| &worker.route);
    others
        .filter(|route| *route != bound)
        .take(max)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{table, worker};
    use limpet_wire::table::WorkerStatus::{Disabled, Down, Draining, NotReady, Up};

    fn holders(table: &WorkerTable, bound: &str) -> Vec<String> {
        let mut destinations = Destinations::new(table);
        destinations.push(bound);
        destinations.push_holders("default", "abc", bound);
        destinations
            .into_workers()
            .into_iter()
            .map(|worker| worker.route.clone())
            .collect()
    }

    #[test]
    fn the_bound_worker_then_the_nodes_by_rank() {
        let table = table(&[("n1", Up), ("n2", Up), ("n3", Up), ("n4", Up), ("n5", Up)]);
        let mut ranked = vec!["n1", "n2", "n4", "n5"];
        placement::rank(&mut ranked, "default", "abc");
        let expected: Vec<&str> = std::iter::once("n3")
            .chain(ranked)
            .take(DESTINATIONS_MAX)
            .collect();
        assert_eq!(holders(&table, "n3"), expected);
    }

    #[test]
    fn no_worker_that_takes_no_requests() {
        let table = table(&[
            ("n1", Down),
            ("n2", Disabled),
            ("n3", NotReady),
            ("n4", Draining),
            ("n5", Up),
        ]);
        assert_eq!(holders(&table, "n1"), ["n5", "n4"], "and a draining one last");
        assert_eq!(holders(&table, "n4"), ["n4", "n5"], "unless it is the bound one");
    }

    #[test]
    fn other_nodes_before_neighbours() {
        let mut table = table(&[]);
        table.workers = vec![
            worker("a1", "a", Up),
            worker("a2", "a", Up),
            worker("b1", "b", Up),
            worker("b2", "b", Up),
        ];
        let routes = holders(&table, "a1");
        assert_eq!(routes.len(), 4);
        assert_eq!(
            (
                routes[0].as_str(),
                &routes[1][..1],
                &routes[2][..1],
                routes[3].as_str()
            ),
            ("a1", "b", "b", "a2")
        );
    }

    #[test]
    fn fallbacks_are_without_the_bound_worker() {
        let table = table(&[("n1", Up), ("n2", Up)]);
        assert_eq!(fallbacks(&table, "default", "abc", "n1", 3), ["n2"]);
        assert_eq!(fallbacks(&table, "default", "abc", "n1", 0), [""; 0]);
    }
}
