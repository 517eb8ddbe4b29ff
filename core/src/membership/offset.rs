//! The offset of another node's clock from a clock of this one, estimated as NTP does (RFC 5905, section 8).
//!
//! The other clock is taken to have been read in the middle between request and reply; the error is at most half of the
//! round trip. Sending requests, and what follows from an offset, belong to [`crate::engine::members`].

/// A reply that took longer measures too little, once there was a better one.
const ROUND_TRIP_MAX_MS: u64 = 500;
/// A reply that took longer measures nothing.
const FIRST_ROUND_TRIP_MAX_MS: u64 = 5000;

/// One clock of a member, as seen from a clock of this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offset {
    /// Smoothed; in 1/8 ms.
    eighths: Option<i64>,
}

impl Offset {
    /// A reply arrived: requested at `asked_ms` and received at `received_ms` by this node's clock, sent at
    /// `theirs_ms` by the other's. One that took too long, or came before it was asked for, is no measurement.
    pub fn measured(&mut self, asked_ms: u64, theirs_ms: u64, received_ms: u64) {
        let most = if self.eighths.is_some() {
            ROUND_TRIP_MAX_MS
        } else {
            FIRST_ROUND_TRIP_MAX_MS
        };
        let round_trip = received_ms.checked_sub(asked_ms);
        let Some(round_trip) = round_trip.filter(|round_trip| *round_trip <= most) else {
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
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_round_trip_is_taken_off_and_the_rest_is_smoothed() {
        let mut offset = Offset::default();
        assert_eq!(offset.ahead_ms(), None);
        offset.measured(1000, 1250, 1100);
        assert_eq!(offset.ahead_ms(), Some(200));
        offset.measured(2000, 2290, 2100);
        assert_eq!(offset.ahead_ms(), Some(210), "a quarter of the way");
        offset.measured(3000, 0, 2999);
        offset.measured(3000, 9000, 9000);
        assert_eq!(offset.ahead_ms(), Some(210), "neither is a measurement");
        offset.measured(10_000, 5000, 10_000);
        assert_eq!(offset.ahead_ms(), Some(-5000), "it was set");
        offset.measured(u64::MAX - 1, 0, u64::MAX);
    }

    #[test]
    fn a_slow_reply_is_better_than_none() {
        let mut offset = Offset::default();
        offset.measured(0, 9000, 5001);
        assert_eq!(offset.ahead_ms(), None);
        offset.measured(0, 9000, 4000);
        assert_eq!(offset.ahead_ms(), Some(7000));
        offset.measured(0, 9000, 600);
        assert_eq!(offset.ahead_ms(), Some(7000));
        offset.measured(0, 9000, 0);
        assert_eq!(offset.ahead_ms(), Some(9000));
    }
}
