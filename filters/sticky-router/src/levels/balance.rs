//! The last level, balance: a request for which no worker is known, which may go to any worker that takes it.
//!
//! The proxy's load balancer decides, unless the worker table knows better: a session whose route no worker has is
//! bound to that route still, so that [`crate::decide`] prefers the nodes with a copy; and while some worker takes no
//! new sessions, [`spread`] names those that do, because the balancer does not know the table.

use limpet_wire::table::{Worker, WorkerTable};

use super::affinity::Affinity;
use crate::config::Config;
use crate::destinations::{DESTINATIONS_MAX, Destinations};
use crate::request::Request;

/// Asks this level, which always answers.
#[must_use]
pub fn decide<'a>(request: &'a Request<'_>, _: &Config, table: &'a WorkerTable) -> Option<Affinity<'a>> {
    Some(Affinity {
        bound: request
            .session
            .as_ref()
            .and_then(|session| session.route.as_deref()),
        destinations: Destinations::new(table),
    })
}

/// The destinations of a request without affinity: none where every worker takes new sessions, because then the
/// proxy's balancer knows best; else those that do, in proportion to their weights. `turn` is the number of the
/// request, and chooses the first one.
#[must_use]
pub fn spread(table: &WorkerTable, turn: u64) -> Vec<&Worker> {
    let eligible: Vec<&Worker> = table.workers.iter().filter(|worker| worker.takes_new()).collect();
    let declared = table.workers.iter().filter(|worker| !worker.is_departed());
    if eligible.len() == declared.count() {
        return Vec::new();
    }
    let weight = |worker: &Worker| u64::from(worker.weight.max(1));
    let total: u64 = eligible.iter().map(|worker| weight(worker)).sum();
    // The golden ratio's multiples are spread evenly over any stretch of turns (Weyl).
    let point = (u128::from(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15)) * u128::from(total)) >> 64;
    let mut passed = 0;
    let start = eligible.iter().position(|worker| {
        passed += weight(worker);
        point < u128::from(passed)
    });
    let start = start.unwrap_or(0);
    eligible
        .iter()
        .cycle()
        .skip(start)
        .take(eligible.len().min(DESTINATIONS_MAX))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{session, table};
    use limpet_wire::table::WorkerStatus::{Disabled, Down, Draining, Up};

    #[test]
    fn a_session_stays_bound_to_a_route_that_no_worker_has() {
        let table = table(&[("n1", Up)]);
        let request = Request {
            session: Some(session("abc", Some("gone"))),
            ..Request::default()
        };
        let bound = |request| decide(request, &Config::default(), &table).unwrap().bound;
        assert_eq!(bound(&request), Some("gone"));
        assert_eq!(bound(&Request::default()), None);
    }

    #[test]
    fn the_balancer_is_left_alone_while_everybody_takes_new_ones() {
        assert!(spread(&table(&[("n1", Up), ("n2", Up)]), 7).is_empty());
        assert!(spread(&table(&[]), 7).is_empty());
        assert!(spread(&table(&[("n1", Down), ("n2", Draining)]), 7).is_empty());
    }

    #[test]
    fn a_departed_route_is_no_worker_that_takes_none() {
        let mut table = table(&[("n1", Up), ("n2", Up), ("n3", Disabled)]);
        assert_eq!(spread(&table, 7).len(), 2);
        table.workers[2].addr.clear();
        assert!(spread(&table, 7).is_empty());
    }

    #[test]
    fn turns_are_shared_by_weight() {
        let mut table = table(&[("n1", Up), ("n2", Up), ("n3", Down)]);
        table.workers[1].weight = 3;
        let mut firsts = [0; 2];
        for turn in 0..1_000 {
            let workers = spread(&table, turn);
            assert_eq!(workers.len(), 2);
            firsts[usize::from(workers[0].route == "n2")] += 1;
        }
        assert!((245..=255).contains(&firsts[0]), "{firsts:?}");
    }
}
