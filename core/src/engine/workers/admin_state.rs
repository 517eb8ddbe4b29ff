//! Admin states: what operators want of workers, on whichever node these are.
//!
//! They are attributes by route of one of the cluster's own sessions, so they are replicated, transferred and repaired
//! like everything else and outlive the restart of any one node. Each is a last-writer-wins register. It holds until an
//! operator enables the worker again, whether the worker's node is there or not. What a status means for requests is
//! decided by filters and proxies.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use limpet_wire::table::WorkerStatus;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Patch, Refused, Written};
use crate::session::Record;

/// What an operator wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// It serves as its health allows. The default.
    Enable,
    /// It keeps the sessions that are bound to it and gets no new ones.
    Drain,
    /// Nothing is sent to it.
    Disable,
}

impl AdminState {
    /// The admin state called `name`: `enable`, `drain` or `disable`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "enable" => Some(Self::Enable),
            "drain" => Some(Self::Drain),
            "disable" => Some(Self::Disable),
            _ => None,
        }
    }

    /// The status of a worker that would have `status` without an operator's wish.
    const fn applied_to(self, status: WorkerStatus) -> WorkerStatus {
        match (self, status) {
            (Self::Disable, _) => WorkerStatus::Disabled,
            (Self::Drain, WorkerStatus::Up) => WorkerStatus::Draining,
            (Self::Drain | Self::Enable, status) => status,
        }
    }

    const fn encoded(self) -> &'static [u8] {
        match self {
            Self::Enable => b"enable",
            Self::Drain => b"drain",
            Self::Disable => b"disable",
        }
    }
}

/// The admin state of each route that has one. As many as a session has attributes at most.
#[derive(Debug, Clone, Default)]
pub(super) struct AdminStates(BTreeMap<String, AdminState>);

impl AdminStates {
    /// The states in `record`. Values that are none are ignored: a later version of this program may know more.
    pub(super) fn read(record: Option<&Record>) -> Self {
        let values = record.into_iter().flat_map(Record::values);
        let states = values.filter_map(|(route, value)| {
            let state = std::str::from_utf8(value).ok().and_then(AdminState::parse)?;
            Some((route.to_string(), state))
        });
        Self(states.collect())
    }

    /// What the worker `route` has of `status` under its admin state.
    pub(super) fn apply(&self, route: &str, status: WorkerStatus) -> WorkerStatus {
        let state = self.0.get(route).copied().unwrap_or(AdminState::Enable);
        state.applied_to(status)
    }
}

/// The session that holds the admin states.
pub(super) fn session() -> &'static SessionKey {
    static KEY: LazyLock<SessionKey> = LazyLock::new(|| SessionKey::reserved("limpet", "workers"));
    &KEY
}

impl Engine {
    /// Sets the admin state of the worker `route` in the whole cluster.
    ///
    /// # Errors
    /// [`Refused::NoSuchWorker`] when no node declares it, [`Refused::NotReady`].
    pub fn direct(&mut self, route: &str, admin_state: AdminState, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        if self.workers.by_route(route).is_none() {
            return Err(Refused::NoSuchWorker(route.to_owned()));
        }
        let mut patch = Patch::default();
        if admin_state == AdminState::Enable {
            patch.remove.push(route.to_owned());
        } else {
            patch.set.push((route.to_owned(), admin_state.encoded().into()));
        }
        tracing::info!(route, ?admin_state, "an operator set a worker's admin state");
        let written = self.patch(session(), patch, now);
        self.settle(now);
        written
    }
}
