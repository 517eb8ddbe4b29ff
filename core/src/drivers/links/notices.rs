//! What was said in the log lately, so that a node that tries again every second is not told of every second.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::drivers::supervisor::lock;

/// How long the same is not said again.
const PAUSE: Duration = Duration::from_secs(3600);
/// How many notices are remembered. One more, and all are forgotten: something may then be said twice.
const NOTICES_MAX: usize = 1024;

/// Notices given lately.
#[derive(Debug, Default)]
pub(super) struct Notices {
    given: Mutex<HashMap<String, Instant>>,
}

impl Notices {
    /// Whether `notice` is to be given: it was not, lately.
    pub(super) fn is_new(&self, notice: String) -> bool {
        let mut given = lock(&self.given, "the list of notices");
        if given.get(&notice).is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        if given.len() >= NOTICES_MAX {
            given.clear();
        }
        given.insert(notice, Instant::now());
        true
    }
}
