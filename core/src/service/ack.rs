//! How many copies of a change a caller waits for, and for how long.

use std::time::Duration;

use super::{Level, Service};

/// A level and the longest wait for it. A timeout is no error: the change stands, and the answer says how many nodes
/// are known to hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// How many copies.
    pub level: Level,
    /// The longest wait.
    pub timeout: Duration,
}

impl Service {
    /// What the caller said, and where it said nothing, what the configuration says. Nobody waits for longer than
    /// `replication.ack_timeout`.
    #[must_use]
    pub fn ack(&self, level: Option<Level>, timeout: Option<Duration>) -> Ack {
        let default = self.settings.borrow().ack;
        Ack {
            level: level.unwrap_or(default.level),
            timeout: timeout.map_or(default.timeout, |timeout| timeout.min(default.timeout)),
        }
    }
}
