//! Routes whose worker nobody declares any more.
//!
//! A session id may carry such a route for as long as its cookie lives. Routing must still recognise it: a text behind the
//! first dot that is no route is a part of the id. So the name outlives the worker for [`ROUTE_REMEMBERED_FOR`]. It is
//! kept in memory only: every node sees workers depart for itself. How filters use it is theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_wire::table::{Worker, WorkerStatus};

use crate::base::id::NodeId;
use crate::base::limits::{DEPARTED_ROUTES_MAX, ROUTE_REMEMBERED_FOR};

#[derive(Debug, Clone)]
struct Departure {
    /// Who declared it last.
    node: NodeId,
    /// When it departed, since this node started.
    at: Duration,
}

/// Departed routes: of more than [`DEPARTED_ROUTES_MAX`] the latest.
#[derive(Debug, Clone, Default)]
pub(super) struct DepartedRoutes {
    routes: BTreeMap<String, Departure>,
    version: u64,
}

impl DepartedRoutes {
    /// Changes with every change of the routes.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// `node` declared `route` until now.
    pub(super) fn add(&mut self, route: String, node: NodeId, at: Duration) {
        self.version += 1;
        self.routes.insert(route, Departure { node, at });
        if self.routes.len() > DEPARTED_ROUTES_MAX {
            let oldest = self.routes.iter().min_by_key(|(_, departure)| departure.at);
            if let Some(oldest) = oldest.map(|(route, _)| route.clone()) {
                self.routes.remove(&oldest);
            }
        }
    }

    /// `route` is declared again.
    pub(super) fn remove(&mut self, route: &str) {
        self.version += u64::from(self.routes.remove(route).is_some());
    }

    /// Forgets routes that departed too long ago. Says whether there were any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let before = self.routes.len();
        self.routes
            .retain(|_, departure| now.saturating_sub(departure.at) < ROUTE_REMEMBERED_FOR);
        let expired = self.routes.len() < before;
        self.version += u64::from(expired);
        expired
    }

    /// Rows by which filters know the routes: of a worker without an address that takes no requests.
    pub(super) fn rows(&self) -> impl Iterator<Item = Worker> {
        self.routes.iter().map(|(route, departure)| Worker {
            route: route.clone(),
            url: String::new(),
            addr: String::new(),
            weight: 0,
            status: WorkerStatus::Disabled,
            node: departure.node.as_str().to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(routes: &DepartedRoutes) -> Vec<String> {
        routes.rows().map(|row| row.route).collect()
    }

    fn node() -> NodeId {
        NodeId::parse("n").unwrap()
    }

    #[test]
    fn a_route_is_known_for_a_week_and_takes_no_requests() {
        let mut routes = DepartedRoutes::default();
        routes.add("a".into(), node(), Duration::ZERO);
        routes.add("b".into(), node(), Duration::from_secs(1));
        assert!(routes.rows().all(|row| !row.takes_bound() && !row.takes_new()));
        assert!(!routes.expire(ROUTE_REMEMBERED_FOR - Duration::from_secs(1)));
        let version = routes.version();
        assert!(routes.expire(ROUTE_REMEMBERED_FOR));
        assert_eq!(names(&routes), ["b"]);
        assert_ne!(routes.version(), version);
    }

    #[test]
    fn of_too_many_routes_the_oldest_goes() {
        let mut routes = DepartedRoutes::default();
        for n in 0..=DEPARTED_ROUTES_MAX {
            let at = Duration::from_secs(u64::from(n != 7));
            routes.add(format!("{n:04}"), node(), at);
        }
        assert_eq!(routes.rows().count(), DEPARTED_ROUTES_MAX);
        assert!(!names(&routes).contains(&"0007".to_owned()));
    }

    #[test]
    fn a_route_that_is_declared_again_is_no_departed_one() {
        let mut routes = DepartedRoutes::default();
        routes.add("a".into(), node(), Duration::ZERO);
        routes.remove("a");
        let version = routes.version();
        routes.remove("a");
        assert_eq!((names(&routes).len(), routes.version()), (0, version));
    }
}
