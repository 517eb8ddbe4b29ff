//! Worker tables for this crate's tests.

use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
use limpet_wire::token::TokenKey;

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
