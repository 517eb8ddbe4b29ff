//! How far another node's wall clock is from this one's, from questions and answers: the middle between asking and
//! hearing is when the other looked at its clock, give or take half of the way there and back.

use std::time::Duration;

/// An answer that took longer says too little.
const ROUND_TRIP_MAX_MS: u64 = 500;

/// One member's clock, as seen from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Smoothed; in 1/8 ms.
    eighths: Option<i64>,
    warned: Option<Duration>,
}

impl Drift {
    /// An answer arrived: asked at `asked_ms` and heard at `heard_ms` by this node's clock, given at `theirs_ms` by
    /// the other's. Anything that cannot be, or took too long, is no measurement.
    pub fn measured(&mut self, asked_ms: u64, theirs_ms: u64, heard_ms: u64) {
        let Some(way) = heard_ms
            .checked_sub(asked_ms)
            .filter(|way| *way <= ROUND_TRIP_MAX_MS)
        else {
            return;
        };
        let (theirs, middle) = (
            signed(theirs_ms),
            signed(asked_ms).saturating_add(signed(way / 2)),
        );
        let sample = theirs.saturating_sub(middle).saturating_mul(8);
        self.eighths = Some(match self.eighths {
            // A clock that was set is not approached bit by bit.
            Some(known) if known.abs_diff(sample) <= 8 * ROUND_TRIP_MAX_MS => known + (sample - known) / 4,
            _ => sample,
        });
    }

    /// How many milliseconds the other clock is ahead of this one, behind if less than 0. `None` before it was
    /// measured.
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        self.eighths.map(|eighths| eighths / 8)
    }

    /// Whether it is past `limit` and this was not said for `pause`.
    pub fn is_to_be_said(&mut self, limit: Duration, pause: Duration, now: Duration) -> bool {
        let past = self
            .ahead_ms()
            .is_some_and(|ahead| u128::from(ahead.unsigned_abs()) > limit.as_millis());
        let due = past
            && self
                .warned
                .is_none_or(|warned| now.saturating_sub(warned) >= pause);
        if due {
            self.warned = Some(now);
        }
        due
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_way_is_taken_off_and_the_rest_is_smoothed() {
        let mut drift = Drift::default();
        assert_eq!(drift.ahead_ms(), None);
        drift.measured(1000, 1250, 1100);
        assert_eq!(drift.ahead_ms(), Some(200));
        drift.measured(2000, 2290, 2100);
        assert_eq!(drift.ahead_ms(), Some(210), "a quarter of the way");
        drift.measured(3000, 0, 2999);
        drift.measured(3000, 9000, 9000);
        assert_eq!(drift.ahead_ms(), Some(210), "neither is a measurement");
        drift.measured(10_000, 5000, 10_000);
        assert_eq!(drift.ahead_ms(), Some(-5000), "it was set");
        drift.measured(u64::MAX - 1, 0, u64::MAX);
    }

    #[test]
    fn a_drift_past_the_limit_is_said_now_and_then() {
        let (limit, pause) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut drift = Drift::default();
        drift.measured(0, 1000, 0);
        assert!(!drift.is_to_be_said(limit, pause, Duration::ZERO), "not past it");
        drift.measured(0, 6000, 0);
        assert!(drift.is_to_be_said(limit, pause, Duration::ZERO));
        assert!(!drift.is_to_be_said(limit, pause, Duration::from_secs(59)));
        assert!(drift.is_to_be_said(limit, pause, Duration::from_secs(60)));
    }
}
