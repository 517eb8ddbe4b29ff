//! The hybrid logical clock (Kulkarni et al. 2014): stamps follow the wall clock while it runs forward, rise by
//! one while it does not, and always rise past every stamp that was seen.

use super::Stamp;

/// A node's clock for stamps.
#[derive(Debug, Clone)]
pub struct Hlc {
    last: u64,
    node: u64,
    skew_max_ms: u64,
}

/// A stamp from the future: the sender's clock, or ours, is wrong. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stamp is {ahead_ms} ms ahead of this node's clock, more than is believed; compare the clocks")]
pub struct TooFarAhead {
    /// How far, in milliseconds.
    pub ahead_ms: u64,
}

impl Hlc {
    /// A clock for the node tagged `node` that believes stamps up to `skew_max_ms` ahead.
    #[must_use]
    pub const fn new(node: u64, skew_max_ms: u64) -> Self {
        Self {
            last: 0,
            node,
            skew_max_ms,
        }
    }

    /// A stamp later than every stamp taken or observed before.
    pub fn stamp(&mut self, wall_ms: u64) -> Stamp {
        self.last = (wall_ms << 16).max(self.last + 1);
        Stamp {
            time: self.last,
            node: self.node,
        }
    }

    /// Takes note of another node's stamp.
    ///
    /// # Errors
    /// When it is further ahead than is believed; the clock is then unchanged.
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
