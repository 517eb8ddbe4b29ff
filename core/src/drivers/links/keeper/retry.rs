//! A retry: when one link that is to be kept is dialled next. It counts pauses; whether the link is still wanted is for
//! the keeper to decide.

use std::time::Duration;

use super::AttemptId;
use crate::base::backoff::Backoff;
use crate::base::limits::REDIAL_PAUSE_MAX;

/// The pause after a first failure, before jitter.
const BACKOFF_LEAST: Duration = Duration::from_millis(50);

/// The pauses between attempts at one link.
pub(super) const fn backoff() -> Backoff {
    Backoff::new(BACKOFF_LEAST, REDIAL_PAUSE_MAX)
}

/// How an attempt ended, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// There was no link.
    Failed,
    /// There was a link, for a moment.
    Early,
    /// There was a link that lasted, or that ended only to be made again.
    Lasted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Dialled from this moment on.
    Waiting(Duration),
    /// The attempt is under way, or its link is up.
    Busy(AttemptId),
    /// The attempt is over, and the pause has not begun.
    Over(End),
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    stage: Stage,
}

impl Retry {
    /// A link to be dialled for the first time at `now`.
    pub(super) const fn new(now: Duration) -> Self {
        Self {
            backoff: backoff(),
            stage: Stage::Waiting(now),
        }
    }

    /// Attempt `id` began.
    pub(super) const fn begin(&mut self, id: AttemptId) {
        self.stage = Stage::Busy(id);
    }

    /// The attempt is over. `up`: there was a link; `lasted`: for long enough to be made again at once.
    pub(super) const fn end(&mut self, up: bool, lasted: bool) {
        self.stage = Stage::Over(match (up, lasted) {
            (false, _) => End::Failed,
            (true, false) => End::Early,
            (true, true) => End::Lasted,
        });
    }

    /// Whether the last attempt made no link, and its pause has not begun.
    pub(super) fn has_failed(&self) -> bool {
        self.stage == Stage::Over(End::Failed)
    }

    /// Whether it is to be dialled now. Begins the pause of an attempt that is over.
    pub(super) fn take_due(&mut self, now: Duration, jitter: f64) -> bool {
        if let Stage::Over(end) = self.stage {
            self.stage = Stage::Waiting(if end == End::Lasted {
                self.backoff.reset(); // at once: is the process still there?
                now
            } else {
                now + self.backoff.step(jitter)
            });
        }
        self.due().is_some_and(|at| at <= now)
    }

    /// When it is dialled next, where that is known.
    pub(super) const fn due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Waiting(at) => Some(at),
            Stage::Busy(_) | Stage::Over(_) => None,
        }
    }

    /// The other end is known to be there now: a pause ends at once.
    pub(super) fn hurry(&mut self, now: Duration) {
        if let Stage::Waiting(at) = &mut self.stage {
            *at = now.min(*at);
        }
    }

    /// The attempt under way, or whose link is up.
    pub(super) const fn attempt(&self) -> Option<AttemptId> {
        match self.stage {
            Stage::Busy(id) => Some(id),
            Stage::Waiting(_) | Stage::Over(_) => None,
        }
    }
}
