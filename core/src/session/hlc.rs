//! A hybrid logical clock (Kulkarni et al. 2014).
//!
//! Its stamps follow the wall clock while that runs forward, rise by one while it does not, and are always later than
//! every stamp that was observed. Reading the wall clock is the caller's part.

use super::Stamp;

/// A node's clock for stamps.
#[derive(Debug, Clone)]
pub struct Hlc {
    last: u64,
    node: u64,
    skew_max_ms: u64,
}

/// A stamp from the future: the sender's clock or this node's is wrong. Nothing was changed; the operator can compare
/// and correct the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stamp is {ahead_ms} ms ahead of this node's clock, more than replication.max_skew allows; compare the clocks"
)]
pub struct TooFarAhead {
    /// How far, in milliseconds.
    pub ahead_ms: u64,
}

impl Hlc {
    /// A clock for the node with the tag `node` that accepts stamps up to `skew_max_ms` ahead of the wall clock.
    #[must_use]
    pub const fn new(node: u64, skew_max_ms: u64) -> Self {
        Self {
            last: 0,
            node,
            skew_max_ms,
        }
    }

    /// A stamp later than every stamp that was taken or observed before.
    pub fn stamp(&mut self, wall_ms: u64) -> Stamp {
        self.last = (wall_ms << 16).max(self.last + 1);
        Stamp {
            time: self.last,
            node: self.node,
        }
    }

    /// Observes another node's stamp: later stamps of this clock are later than it.
    ///
    /// # Errors
    /// When it is too far ahead; the clock is then unchanged.
    pub fn observe(&mut self, stamp: Stamp, wall_ms: u64) -> Result<(), TooFarAhead> {
        let ahead_ms = stamp.wall_ms().saturating_sub(wall_ms);
        if ahead_ms > self.skew_max_ms {
            return Err(TooFarAhead { ahead_ms });
        }
        self.last = self.last.max(stamp.time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_even_when_the_wall_clock_does_not() {
        let mut hlc = Hlc::new(1, 60_000);
        let stamps: Vec<_> = [5, 5, 3, 6].into_iter().map(|ms| hlc.stamp(ms)).collect();
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
    }

    #[test]
    fn a_write_after_reading_a_later_one_is_later() {
        let mut hlc = Hlc::new(1, 60_000);
        let seen = Stamp {
            time: 50_000 << 16,
            node: 2,
        };
        hlc.observe(seen, 1_000).unwrap();
        assert!(hlc.stamp(1_001) > seen);
    }

    #[test]
    fn a_stamp_from_the_far_future_changes_nothing() {
        let mut hlc = Hlc::new(1, 60_000);
        let before = hlc.stamp(1_000);
        let future = Stamp {
            time: 61_001 << 16,
            node: 2,
        };
        assert_eq!(hlc.observe(future, 1_000), Err(TooFarAhead { ahead_ms: 60_001 }));
        assert_eq!(hlc.stamp(1_000).time, before.time + 1);
    }
}
