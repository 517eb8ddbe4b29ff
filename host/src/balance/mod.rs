//! Load balancing: the choice of a worker for a request that no filter has a destination for.
//!
//! `byrequests` is smooth weighted round robin (nginx): every worker earns its weight with each request and the richest
//! one pays the total, so shares are exact and turns alternate. `least_request` takes the fewest open requests per
//! weight. There is no clock and no randomness here. Sessions are left to filters, connections to `upstream`.

use std::cell::Cell;

pub mod plan; // which worker an attempt goes to

/// How a worker is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// By number of requests.
    #[default]
    ByRequests,
    /// By number of open requests.
    LeastRequest,
}

/// The load of one worker.
#[derive(Debug, Default)]
pub struct Load {
    /// Its share relative to the others, 1 or more.
    pub weight: u32,
    /// Whether it gets requests without a destination.
    pub takes_new: bool,
    /// Open requests.
    pub open: Cell<u32>,
    /// The credit it earned and did not spend, for `byrequests`.
    pub credit: Cell<i64>,
}

/// The best of `loads` that takes new requests and is not `excluded`, by position.
pub fn choose<'l>(
    balance: Balance,
    loads: impl Iterator<Item = &'l Load>,
    excluded: impl Fn(usize) -> bool,
) -> Option<usize> {
    let eligible = loads
        .enumerate()
        .filter(|(at, load)| load.takes_new && !excluded(*at));
    match balance {
        Balance::ByRequests => by_requests(eligible),
        Balance::LeastRequest => {
            let share = |load: &Load| (u64::from(load.open.get()) << 32) / u64::from(load.weight.max(1));
            // Among equals the one that was chosen least often; its credit counts that.
            let (at, load) = eligible.min_by_key(|(_, load)| (share(load), load.credit.get()))?;
            load.credit.set(load.credit.get().wrapping_add(1));
            Some(at)
        }
    }
}

fn by_requests<'l>(eligible: impl Iterator<Item = (usize, &'l Load)>) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, &Load)> = None;
    for (at, load) in eligible {
        let weight = i64::from(load.weight);
        total += weight;
        load.credit.set(load.credit.get().saturating_add(weight));
        if best.is_none_or(|(_, richest)| load.credit.get() > richest.credit.get()) {
            best = Some((at, load));
        }
    }
    let (at, load) = best?;
    load.credit.set(load.credit.get().saturating_sub(total));
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(weights: &[u32]) -> Vec<Load> {
        weights
            .iter()
            .map(|weight| Load {
                weight: *weight,
                takes_new: true,
                ..Load::default()
            })
            .collect()
    }

    #[test]
    fn byrequests_is_exact_and_smooth() {
        let loads = loads(&[5, 1, 1]);
        let picks: Vec<_> = (0..7)
            .map(|_| choose(Balance::ByRequests, loads.iter(), |_| false).unwrap())
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn excluded_and_drained_workers_get_nothing() {
        let mut loads = loads(&[1, 1, 1]);
        loads[2].takes_new = false;
        for balance in [Balance::ByRequests, Balance::LeastRequest] {
            for _ in 0..10 {
                assert_eq!(choose(balance, loads.iter(), |at| at == 0), Some(1));
            }
            assert_eq!(choose(balance, loads.iter(), |_| true), None);
        }
    }

    #[test]
    fn least_request_weighs_open_requests() {
        let loads = loads(&[2, 1]);
        loads[0].open.set(3);
        loads[1].open.set(2);
        assert_eq!(choose(Balance::LeastRequest, loads.iter(), |_| false), Some(0));
        loads[0].open.set(4);
        let picks: Vec<_> = (0..4)
            .map(|_| choose(Balance::LeastRequest, loads.iter(), |_| false).unwrap())
            .collect();
        assert_eq!(
            picks.iter().filter(|at| **at == 0).count(),
            2,
            "equals take turns: {picks:?}"
        );
    }
}
