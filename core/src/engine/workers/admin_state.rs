//! What operators said of workers, wherever they are: attributes by route of a session of the cluster's own, so that
//! a word is replicated, transferred and repaired like everything else, and outlives the restart of any one node.
//!
//! Of two words about one worker the later counts. A word stands until another takes it back, whether the worker's
//! node is there or not.

use limpet_wire::table::WorkerStatus;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Patch, Refused, Written};
use crate::session::Record;

/// What an operator wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminState {
    /// Everything, as if nothing had been said.
    Enable,
    /// It keeps the sessions that are bound to it and gets no new ones.
    Drain,
    /// Nothing is sent to it.
    Disable,
}

impl AdminState {
    /// The directive called `name`: `enable`, `drain` or `disable`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "enable" => Some(Self::Enable),
            "drain" => Some(Self::Drain),
            "disable" => Some(Self::Disable),
            _ => None,
        }
    }

    /// What a worker that would have `status` has under this directive.
    pub(in crate::engine) const fn applied_to(self, status: WorkerStatus) -> WorkerStatus {
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

impl Engine {
    /// Says for the whole cluster what may be sent to the worker `route`.
    ///
    /// # Errors
    /// [`Refused::NoSuchWorker`] when no node declares it, [`Refused::NotReady`].
    pub fn direct(&mut self, route: &str, admin_state: AdminState, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        if !self.last_routes.iter().any(|worker| worker.route == route) {
            return Err(Refused::NoSuchWorker(route.to_owned()));
        }
        let mut patch = Patch::default();
        if admin_state == AdminState::Enable {
            patch.remove.push(route.to_owned());
        } else {
            patch.set.push((route.to_owned(), admin_state.encoded().into()));
        }
        tracing::info!(route, ?admin_state, "an operator's word about a worker");
        self.patch(&admin_states_session(), patch, now)
    }

    /// What was said of the worker `route` last.
    pub(in crate::engine) fn admin_state(&self, route: &str) -> AdminState {
        let sent_batch = self.table.get(&admin_states_session()).and_then(|record| {
            let (_, value) = record.values().find(|(name, _)| ***name == *route)?;
            std::str::from_utf8(value).ok()
        });
        sent_batch
            .and_then(AdminState::parse)
            .unwrap_or(AdminState::Enable)
    }

    /// Whether anything was ever said, which is then in the table as a session that is none of the users'.
    pub(in crate::engine) fn has_admin_states(&self) -> bool {
        self.table
            .get(&admin_states_session())
            .is_some_and(Record::is_alive)
    }
}

fn admin_states_session() -> SessionKey {
    SessionKey::reserved("limpet", "workers")
}
