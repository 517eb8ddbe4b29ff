//! The drift of another node's wall clock from this one's, estimated as NTP does (RFC 5905, section 8).
//!
//! The other clock is taken to have been read in the middle between request and reply; the error is at most half of the
//! round trip. Sending requests, and what follows from a drift, belong to [`crate::engine::members`].

use std::time::Duration;

/// A reply that took longer measures too little.
const ROUND_TRIP_MAX_MS: u64 = 500;

/// One member's clock, as seen from here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Smoothed; in 1/8 ms.
    eighths: Option<i64>,
    /// When it was last logged.
    logged: Option<Duration>,
}

impl Drift {
    /// A reply arrived: requested at `asked_ms` and received at `received_ms` by this node's clock, sent at
    /// `theirs_ms` by the other's. One that took too long, or came before it was asked for, is no measurement.
    pub fn measured(&mut self, asked_ms: u64, theirs_ms: u64, received_ms: u64) {
        let Some(round_trip) = received_ms
            .checked_sub(asked_ms)
            .filter(|round_trip| *round_trip <= ROUND_TRIP_MAX_MS)
        else {
            return;
        };
        let (theirs, middle) = (
            signed(theirs_ms),
            signed(asked_ms).saturating_add(signed(round_trip / 2)),
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

    /// Whether it is past `limit` and this was not logged for `pause`.
    pub fn is_to_be_logged(&mut self, limit: Duration, pause: Duration, now: Duration) -> bool {
        let past = self
            .ahead_ms()
            .is_some_and(|ahead| u128::from(ahead.unsigned_abs()) > limit.as_millis());
        let due = past
            && self
                .logged
                .is_none_or(|logged| now.saturating_sub(logged) >= pause);
        if due {
            self.logged = Some(now);
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
    fn half_of_the_round_trip_is_taken_off_and_the_rest_is_smoothed() {
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
    fn a_drift_past_the_limit_is_logged_now_and_then() {
        let (limit, pause) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut drift = Drift::default();
        drift.measured(0, 1000, 0);
        assert!(
            !drift.is_to_be_logged(limit, pause, Duration::ZERO),
            "not past it"
        );
        drift.measured(0, 6000, 0);
        assert!(drift.is_to_be_logged(limit, pause, Duration::ZERO));
        assert!(!drift.is_to_be_logged(limit, pause, Duration::from_secs(59)));
        assert!(drift.is_to_be_logged(limit, pause, Duration::from_secs(60)));
    }
}
