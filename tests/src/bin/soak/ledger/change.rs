//! One change as its client saw it: which node was asked when, and what came of it. It says which of two changes came first,
//! where a client can know that.

use std::time::Duration;

/// Time since the soak began.
pub type At = Duration;

/// One start of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// The node, by its number.
    pub node: usize,
    /// How often it was started before.
    pub incarnation: u32,
}

/// What became of a change, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is no answer yet.
    Pending,
    /// It was made, and so many nodes were known to hold it.
    Acked(u64),
    /// It was refused, so nothing was changed.
    Refused,
    /// The answer was lost with the connection. It was made or not, but will not be made later.
    Unknown,
    /// The client gave up waiting. It may yet be made.
    Loose,
}

/// One change: who was asked when, and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The node that was asked.
    pub instance: Instance,
    /// When it was asked.
    pub begun: At,
    /// When the answer came, or the end of waiting for one.
    pub done: Option<At>,
    /// The answer.
    pub outcome: Outcome,
    /// It was there when the cluster last came to rest.
    pub settled: bool,
}

impl Change {
    /// A change that is being asked for.
    #[must_use]
    pub fn begin(instance: Instance, begun: At) -> Self {
        Self {
            instance,
            begun,
            done: None,
            outcome: Outcome::Pending,
            settled: false,
        }
    }

    /// The answer to it.
    pub fn end(&mut self, outcome: Outcome, at: At) {
        self.outcome = outcome;
        self.done = Some(at);
    }

    /// Whether it was over for longer than `margin` when `other` began.
    #[must_use]
    pub fn precedes(&self, other: &Change, margin: Duration) -> bool {
        let over = !matches!(self.outcome, Outcome::Pending | Outcome::Loose);
        over && self.done.is_some_and(|done| done + margin < other.begun)
    }

    /// Whether it may still be made, or undone by nobody's fault.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Pending | Outcome::Loose)
    }
}
