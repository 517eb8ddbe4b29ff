//! What happens at this node, as it happens. Events are not stored: a listener that is too slow is told how many it
//! missed, and goes on with what happens now.

use std::sync::Arc;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{NodeError, Service};
use crate::drivers::node::EventReceiver;

pub use crate::engine::events::{
    Event, Kind, MemberChange, MemberEvent, SessionChange, SessionEvent, WorkerEvent,
};

/// Which events a listener wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Of these classes; of all when there are none.
    pub classes: Vec<Class>,
    /// Of sessions, those of these apps; of all when there are none.
    pub apps: Vec<String>,
    /// Of sessions, also what other nodes did.
    pub replicated: bool,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A session.
    Session,
    /// A member of the cluster.
    Member,
    /// A worker.
    Worker,
}

impl Class {
    /// Its name, the same in every protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Member => "member",
            Self::Worker => "worker",
        }
    }

    /// The class called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Session, Self::Member, Self::Worker]
            .into_iter()
            .find(|class| class.name() == name)
    }

    /// The class of an event.
    #[must_use]
    pub const fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Session(_) => Self::Session,
            Kind::Member(_) => Self::Member,
            Kind::Worker(_) => Self::Worker,
        }
    }
}

impl EventFilter {
    fn wants(&self, kind: &Kind) -> bool {
        let of_class = self.classes.is_empty() || self.classes.contains(&Class::of(kind));
        of_class
            && match kind {
                Kind::Session(event) => {
                    (self.replicated || !event.replicated)
                        && (self.apps.is_empty() || self.apps.iter().any(|app| **app == *event.key.app()))
                }
                Kind::Member(_) | Kind::Worker(_) => true,
            }
    }
}

/// What a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Event(Arc<Event>),
    /// So many events, of all kinds, were missed here.
    Missed(u64),
}

/// A place among the listeners of a node, given up when this is dropped.
#[derive(Debug)]
pub struct Listener {
    /// Tells the event numbers of this process from those of the one before.
    pub epoch: u64,
    filter: EventFilter,
    /// The number of the next event, if none is missed.
    next: u64,
    events: EventReceiver,
    /// An event that follows the events that were missed before it.
    held: Option<Arc<Event>>,
}

impl Service {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`NodeError::TooManyListeners`].
    pub fn listen(&self, filter: EventFilter) -> Result<Listener, NodeError> {
        let (next, events) = self.node.listen().ok_or(NodeError::TooManyListeners)?;
        Ok(Listener {
            epoch: self.node.table_versions().borrow().epoch,
            filter,
            next,
            events,
            held: None,
        })
    }
}

impl Listener {
    /// Waits for the next notice; `None` when none can follow. Nothing is lost when the wait is given up.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.take_held() {
                return Some(notice);
            }
            match self.events.recv().await {
                Ok(event) => self.held = Some(event),
                Err(RecvError::Lagged(_)) => {} // the number of the next one tells how many
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// The next notice, if there is one already.
    pub fn try_next(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.take_held() {
                return Some(notice);
            }
            match self.events.try_recv() {
                Ok(event) => self.held = Some(event),
                Err(TryRecvError::Lagged(_)) => {} // as above
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// What there is to tell of the event in hand: first that others were missed before it, then it, if it is wanted.
    fn take_held(&mut self) -> Option<Notice> {
        let number = self.held.as_ref()?.number;
        let missed = number.saturating_sub(self.next);
        if missed > 0 {
            self.next = number;
            return Some(Notice::Missed(missed));
        }
        self.next = number + 1;
        let event = self.held.take().filter(|event| self.filter.wants(&event.kind))?;
        Some(Notice::Event(event))
    }
}
