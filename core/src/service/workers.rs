//! Workers: the table of all of them, and what operators want of each.

use std::time::Duration;

use limpet_wire::table::{TableVersion, WorkerStatus, WorkerTable};

use super::{Ack, NodeError, Service, ServiceError};
use crate::engine::sessions::Refused;
use crate::engine::workers::admin_state::AdminState;

/// How often a caller that waits for the table of a joining node has it looked at: that it is complete changes no version.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An administrative state that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminOutcome {
    /// What the worker's status is now; `None` when its node left at this moment.
    pub status: Option<WorkerStatus>,
    /// How many nodes, this one included, are known to hold the change.
    pub copies: usize,
}

impl Service {
    /// The cluster's time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.node.with(|engine, now| engine.time_ms(now))
    }

    /// Every worker of every known node.
    #[must_use]
    pub fn worker_table(&self) -> WorkerTable {
        self.node
            .with(|engine, now| engine.worker_table(engine.time_ms(now)))
    }

    /// The table, for filters and proxies, as soon as it is another than `known`; `None` when it still is that one after
    /// `wait`.
    ///
    /// # Errors
    /// [`NodeError::NotReady`] when after `wait` this node still joins and does not know the workers of every member: its
    /// table must not replace the whole one that the caller has.
    pub async fn worker_table_after(
        &self,
        known: Option<TableVersion>,
        wait: Duration,
    ) -> Result<Option<WorkerTable>, NodeError> {
        let until = tokio::time::Instant::now() + wait;
        let mut versions = self.node.table_versions();
        loop {
            let table = self.node.with(|engine, now| {
                if engine.knows_all_workers() {
                    return Ok(engine.worker_table(now.wall_ms));
                }
                Err(engine.not_ready_reason().unwrap_or_default())
            });
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let pause = match table {
                Ok(table) if Some(table.version) != known => return Ok(Some(table)),
                Ok(_) if left.is_zero() => return Ok(None),
                Ok(_) => left,
                Err(reason) if left.is_zero() => return Err(NodeError::NotReady(reason)),
                Err(_) => left.min(LOOK_AGAIN),
            };
            let _ = tokio::time::timeout(pause, versions.changed()).await; // whichever comes first
        }
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
        let written = self.node.with(|engine, now| {
            let written = engine.direct(route, state, now)?;
            let table = engine.worker_table(engine.time_ms(now));
            status = table.by_route(route).map(|worker| worker.status);
            Ok::<_, Refused>(written)
        })?;
        let copies = self.node.copies(ack.level, ack.timeout, written.write_set);
        Ok(AdminOutcome {
            status,
            copies: copies.await,
        })
    }
}
