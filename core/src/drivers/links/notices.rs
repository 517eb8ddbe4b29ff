//! Notices: what was written to the log lately, so that a node that tries again every second does not repeat itself every
//! second. What is written, and how loudly, is for the callers to decide.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::drivers::supervisor::lock;

/// How long the same notice is not given again.
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

    /// What `notice` says is over: it is given again when it happens again.
    pub(super) fn forget(&self, notice: &str) {
        lock(&self.given, "the list of notices").remove(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_again_after_it_was_over() {
        let notices = Notices::default();
        assert!(notices.is_new("a does not resolve".into()));
        assert!(!notices.is_new("a does not resolve".into()));
        assert!(notices.is_new("b does not resolve".into()));
        notices.forget("a does not resolve");
        assert!(notices.is_new("a does not resolve".into()));
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let notices = Notices::default();
        for number in 0..=NOTICES_MAX {
            assert!(notices.is_new(number.to_string()));
        }
        assert_eq!(notices.given.lock().unwrap().len(), 1);
    }
}
