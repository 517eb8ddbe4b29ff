//! Level 2, the route: the worker whose route the session id carries (`abc.node1`), if the worker table has it.
//!
//! It finds the worker however unfit that is; the copies that take its place are added by [`crate::decide`]. An id
//! with an unknown route is left to [`super::balance`].

use limpet_wire::table::WorkerTable;

use super::affinity::Affinity;
use crate::config::Config;
use crate::destinations::Destinations;
use crate::request::Request;

/// Asks this level.
#[must_use]
pub fn decide<'a>(request: &'a Request<'_>, _: &Config, table: &'a WorkerTable) -> Option<Affinity<'a>> {
    let route = request.session.as_ref()?.route.as_deref()?;
    let worker = table.by_route(route)?;
    let mut destinations = Destinations::new(table);
    destinations.push_worker(worker);
    Some(Affinity {
        bound: Some(route),
        destinations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{session, table};
    use limpet_wire::table::WorkerStatus::{Down, Up};

    #[test]
    fn only_a_route_of_the_table_counts() {
        let table = table(&[("n1", Up), ("n2", Down)]);
        for (route, expected) in [
            (Some("n1"), Some((Some("n1"), 1))),
            (Some("n2"), Some((Some("n2"), 0))),
            (Some("N1"), None),
            (Some("gone"), None),
            (None, None),
        ] {
            let request = Request {
                session: Some(session("abc", route)),
                ..Request::default()
            };
            let affinity = decide(&request, &Config::default(), &table);
            let found = affinity.map(|it| (it.bound, it.destinations.into_workers().len()));
            assert_eq!(found, expected, "{route:?}");
        }
        assert!(decide(&Request::default(), &Config::default(), &table).is_none());
    }
}
