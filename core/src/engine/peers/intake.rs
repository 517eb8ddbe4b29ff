//! The intake of changes from other nodes: which ones are refused unread, and which one is being applied.
//!
//! A session whose change made an earlier incarnation of this process panic is quarantined: the change would do so again,
//! and comes back in other forms (alone, with later changes, as a part of the table), so all of them are refused. Whoever
//! runs the engine asks, after a panic, how far it came ([`Intake::change_in_hand`]), and keeps the list across restarts.

use std::collections::BTreeSet;

use crate::base::id::SessionKey;
use crate::engine::EngineConfig;

/// How many changes of a message were not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Refusals {
    /// For a stamp too far ahead of this node's clock.
    pub(in crate::engine) skewed: usize,
    /// For what they did to an earlier incarnation of this process.
    pub(in crate::engine) quarantined: usize,
    /// Because nothing else of their session is here, and another session has its id.
    pub(in crate::engine) strays: usize,
}

impl Refusals {
    pub(in crate::engine) const fn total(self) -> usize {
        self.skewed + self.quarantined + self.strays
    }

    pub(in crate::engine) const fn add(&mut self, other: Self) {
        self.skewed += other.skewed;
        self.quarantined += other.quarantined;
        self.strays += other.strays;
    }
}

/// See the module page.
#[derive(Debug, Default)]
pub(in crate::engine) struct Intake {
    quarantine: BTreeSet<SessionKey>,
    /// How many changes of the message at hand were begun.
    begun: usize,
    /// Fault injection: a change to a session of this id panics.
    fail_on_id: Option<String>,
}

impl Intake {
    pub(in crate::engine) fn new(config: &EngineConfig) -> Self {
        Self {
            quarantine: config.quarantine.clone(),
            begun: 0,
            fail_on_id: config.fail_on_id.clone(),
        }
    }

    /// A message is about to be handled, or was.
    pub(in crate::engine) const fn reset(&mut self) {
        self.begun = 0;
    }

    /// The next change of the message at hand is about to be applied. Says whether it may be.
    pub(in crate::engine) fn admits(&mut self, key: &SessionKey) -> bool {
        self.begun += 1;
        let quarantined = !self.quarantine.is_empty() && self.quarantine.contains(key);
        assert!(
            quarantined || self.fail_on_id.as_deref() != Some(key.id()),
            "fault injection: a change to this session panics"
        );
        !quarantined
    }

    /// Which change of the message at hand is being applied, counted from 0; `None` before the first.
    pub(in crate::engine) const fn change_in_hand(&self) -> Option<usize> {
        self.begun.checked_sub(1)
    }
}
