//! Worker tables, sessions and claims for this crate's tests.

use std::rc::Rc;

use limpet_filters_common::session::{Session, Source};
use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
use limpet_wire::token::{Claims, TokenKey};

/// A table of workers that each have their own node.
pub(crate) fn table(workers: &[(&str, WorkerStatus)]) -> WorkerTable {
    WorkerTable {
        cluster: "shop".into(),
        version: TableVersion { epoch: 1, number: 1 },
        keys: vec![TokenKey {
            id: 1,
            secret: [7; 32],
        }],
        workers: workers
            .iter()
            .map(|(route, status)| worker(route, route, *status))
            .collect(),
    }
}

pub(crate) fn worker(route: &str, node: &str, status: WorkerStatus) -> Worker {
    Worker {
        route: route.into(),
        url: format!("http://{route}:80"),
        addr: format!("{route}:80"),
        weight: 1,
        status,
        node: node.into(),
    }
}

/// A session from a cookie.
pub(crate) fn session(id: &str, route: Option<&str>) -> Session {
    Session {
        id: id.into(),
        route: route.map(str::to_owned),
        source: Source::Cookie,
    }
}

/// Claims of the default app; stamps in seconds since 1970.
pub(crate) fn claims(route: &str, fallbacks: &[&str], first_seen: u64, last_seen: u64) -> Rc<Claims> {
    Rc::new(Claims {
        app: "default".into(),
        route: route.into(),
        fallbacks: fallbacks.iter().map(|route| (*route).to_owned()).collect(),
        first_seen,
        last_seen,
    })
}
