//! Clocks: the readings of the system's two, and a steady one.
//!
//! This is the only place that reads a clock; pure code is given a [`Now`].

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, by the wall clock. May jump; used for stamps other nodes compare.
    pub wall_ms: u64,
    /// Time since the process started. Never jumps; used for every timer.
    pub mono: Duration,
}

impl Now {
    /// The monotonic clock in whole milliseconds.
    #[must_use]
    pub fn mono_ms(self) -> u64 {
        mono_ms(self.mono)
    }

    /// What the wall clock reads minus what the monotonic one reads, in milliseconds. It changes only where the wall
    /// clock is set.
    #[must_use]
    pub fn wall_offset_ms(self) -> i64 {
        let (wall, mono) = (i64::try_from(self.wall_ms), i64::try_from(self.mono_ms()));
        wall.unwrap_or(i64::MAX).saturating_sub(mono.unwrap_or(0))
    }
}

/// The system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic part begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Reads both clocks. A wall clock before 1970 reads as 1970.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            mono: self.start.elapsed(),
        }
    }
}

/// A clock that never jumps by itself: it runs with the monotonic clock, and is brought nearer to another time slowly.
/// Whom it follows is decided by its owner.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    /// What it reads minus what the monotonic clock reads.
    offset_ms: i64,
    advanced: Duration,
}

impl SteadyClock {
    /// A clock that reads what the wall clock reads now.
    #[must_use]
    pub fn start(now: Now) -> Self {
        Self {
            offset_ms: now.wall_offset_ms(),
            advanced: now.mono,
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn read(&self, now: Now) -> u64 {
        now.mono_ms().saturating_add_signed(self.offset_ms)
    }

    /// What it read when time last passed.
    #[must_use]
    pub fn latest(&self) -> u64 {
        mono_ms(self.advanced).saturating_add_signed(self.offset_ms)
    }

    /// What it reads minus what the monotonic clock reads, in milliseconds.
    #[must_use]
    pub const fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Time passes.
    pub const fn advance(&mut self, now: Now) {
        self.advanced = now.mono;
    }

    /// Sets it by `by_ms` milliseconds at once.
    pub const fn step(&mut self, by_ms: i64) {
        self.offset_ms = self.offset_ms.saturating_add(by_ms);
    }

    /// Brings it nearer to the time with the offset `target_ms`, by `most_ms` at most.
    pub fn slew(&mut self, target_ms: i64, most_ms: i64) {
        let missing = target_ms.saturating_sub(self.offset_ms);
        self.step(missing.clamp(-most_ms, most_ms));
    }
}

fn mono_ms(mono: Duration) -> u64 {
    u64::try_from(mono.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64, mono_s: u64) -> Now {
        Now {
            wall_ms,
            mono: Duration::from_secs(mono_s),
        }
    }

    #[test]
    fn a_jump_of_the_wall_clock_changes_nothing() {
        let clock = SteadyClock::start(at(1_000_000, 0));
        assert_eq!(clock.read(at(1_000_000, 0)), 1_000_000);
        assert_eq!(clock.read(at(1_000_000 + 3_600_000, 10)), 1_010_000);
        assert_eq!(clock.read(at(0, 20)), 1_020_000);
    }

    #[test]
    fn it_follows_another_time_as_fast_as_it_is_told() {
        let mut clock = SteadyClock::start(at(1_000_000, 0));
        clock.slew(1_500_000, 100);
        assert_eq!(clock.read(at(0, 10)), 1_010_100);
        clock.slew(1_000_050, 100);
        assert_eq!(clock.read(at(0, 10)), 1_010_050, "not past it");
        clock.advance(at(0, 20));
        assert_eq!(clock.latest(), 1_020_050);
        clock.step(-1_000_050);
        assert_eq!(clock.latest(), 20_000);
    }
}
