//! What operators said of workers, wherever they are: attributes by route of a session of the cluster's own, so that
//! a word is replicated, transferred and repaired like everything else, and outlives the restart of any one node.
//!
//! Of two words about one worker the later counts. A word stands until another takes it back, whether the worker's
//! node is there or not.

use limpet_wire::table::WorkerStatus;

use super::Engine;
use super::sessions::{Patch, Refused, Written};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::session::Record;

/// What an operator wants of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Everything, as if nothing had been said.
    Enable,
    /// It keeps the sessions that are bound to it and gets no new ones.
    Drain,
    /// Nothing is sent to it.
    Disable,
}

impl Directive {
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
    pub(super) const fn applied_to(self, status: WorkerStatus) -> WorkerStatus {
        match (self, status) {
            (Self::Disable, _) => WorkerStatus::Disabled,
            (Self::Drain, WorkerStatus::Up) => WorkerStatus::Draining,
            (Self::Drain | Self::Enable, status) => status,
        }
    }

    const fn spelled(self) -> &'static [u8] {
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
    pub fn direct(&mut self, route: &str, directive: Directive, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        if !self.last_routes.iter().any(|worker| worker.route == route) {
            return Err(Refused::NoSuchWorker(route.to_owned()));
        }
        let mut patch = Patch::default();
        if directive == Directive::Enable {
            patch.remove.push(route.to_owned());
        } else {
            patch.set.push((route.to_owned(), directive.spelled().into()));
        }
        tracing::info!(route, ?directive, "an operator's word about a worker");
        self.patch(&directives_session(), patch, now)
    }

    /// What was said of the worker `route` last.
    pub(super) fn directive(&self, route: &str) -> Directive {
        let said = self.table.get(&directives_session()).and_then(|record| {
            let (_, value) = record.values().find(|(name, _)| ***name == *route)?;
            std::str::from_utf8(value).ok()
        });
        said.and_then(Directive::parse).unwrap_or(Directive::Enable)
    }

    /// Whether anything was ever said, which is then in the table as a session that is none of the users'.
    pub(super) fn has_directives(&self) -> bool {
        self.table
            .get(&directives_session())
            .is_some_and(Record::is_alive)
    }
}

fn directives_session() -> SessionKey {
    SessionKey::reserved("limpet", "workers")
}
