//! Workers: the table of all of them, and what operators want of each.

use std::time::Duration;

use limpet_wire::table::{TableVersion, WorkerStatus, WorkerTable};

use super::{Ack, Service, ServiceError};
use crate::engine::workers::admin_state::AdminState;

/// An administrative state that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminOutcome {
    /// What the worker's status is now; `None` when its node left at this moment.
    pub status: Option<WorkerStatus>,
    /// How many nodes, this one included, are known to hold the change.
    pub copies: usize,
}

impl Service {
    /// What this node's clock reads, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.node.with(|_, now| now.wall_ms)
    }

    /// Every worker of every known node.
    #[must_use]
    pub fn worker_table(&self) -> WorkerTable {
        self.node.with(|engine, now| engine.worker_table(now.wall_ms))
    }

    /// The table as soon as it is another than `known`; `None` when it still is that one after `wait`.
    pub async fn worker_table_after(
        &self,
        known: Option<TableVersion>,
        wait: Duration,
    ) -> Option<WorkerTable> {
        let mut versions = self.node.table_versions();
        let changed = versions.wait_for(|version| Some(*version) != known);
        let changed = tokio::time::timeout(wait, changed).await.is_ok();
        let table = self.worker_table();
        (changed || Some(table.version) != known).then_some(table)
    }

    /// Sets for the whole cluster what may be sent to the worker `route`.
    ///
    /// # Errors
    /// [`super::CallerError::NoSuchWorker`], [`super::NodeError::NotReady`].
    pub async fn set_admin_state(
        &self,
        route: &str,
        state: AdminState,
        ack: Ack,
    ) -> Result<AdminOutcome, ServiceError> {
        let mut status = None;
        let outcome = self
            .change(&[], ack, |engine, now| {
                let written = engine.direct(route, state, now)?;
                let table = engine.worker_table(now.wall_ms);
                status = table.by_route(route).map(|worker| worker.status);
                Ok(written)
            })
            .await?;
        Ok(AdminOutcome {
            status,
            copies: outcome.copies,
        })
    }
}
