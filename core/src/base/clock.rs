//! Clocks: the readings of the system's two, and a steady one for idle time.
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

/// The wall clock without its jumps: it runs with the monotonic clock and approaches the wall clock slowly, by at most
/// one second in ten. Idle time is counted by it, so a wall clock that is set forward by an hour expires no session,
/// and one that is set back keeps none for ever.
#[derive(Debug, Clone, Copy)]
pub struct SteadyClock {
    ahead_ms: i64,
    advanced: Duration,
    /// How far the wall clock is from the time that this one follows, until the wall clock is set.
    wrong_ms: i64,
    /// The wall clock minus the monotonic one at the last reading.
    wall_ms: i64,
}

impl SteadyClock {
    /// A clock that reads what the wall clock reads now.
    #[must_use]
    pub fn start(now: Now) -> Self {
        Self {
            ahead_ms: wall_minus_mono(now),
            advanced: now.mono,
            wrong_ms: 0,
            wall_ms: wall_minus_mono(now),
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn read(&self, now: Now) -> u64 {
        mono_ms(now.mono).saturating_add_signed(self.ahead_ms)
    }

    /// What it read when it was advanced last.
    #[must_use]
    pub fn latest(&self) -> u64 {
        mono_ms(self.advanced).saturating_add_signed(self.ahead_ms)
    }

    /// Follows the time of other nodes, `ahead_ms` later than this one, until the wall clock is set.
    pub fn follow_others(&mut self, ahead_ms: i64) {
        self.ahead_ms = self.ahead_ms.saturating_add(ahead_ms);
        self.wrong_ms = self.wall_ms.saturating_sub(self.ahead_ms);
    }

    /// Approaches the wall clock as far as the time that passed allows.
    pub fn advance(&mut self, now: Now) {
        let most = i64::try_from(now.mono.saturating_sub(self.advanced).as_millis() / 10).unwrap_or(i64::MAX);
        if most == 0 {
            return; // too little time; it counts together with what comes
        }
        self.advanced = now.mono;
        let wall_ms = wall_minus_mono(now);
        if wall_ms.abs_diff(self.wall_ms) > SET_MS {
            self.wrong_ms = 0;
        }
        self.wall_ms = wall_ms;
        self.ahead_ms += (wall_ms - self.wrong_ms - self.ahead_ms).clamp(-most, most);
    }
}

/// A change of the wall clock by more than this is somebody setting it.
const SET_MS: u64 = 1000;

fn mono_ms(mono: Duration) -> u64 {
    u64::try_from(mono.as_millis()).unwrap_or(u64::MAX)
}

fn wall_minus_mono(now: Now) -> i64 {
    let (wall, mono) = (i64::try_from(now.wall_ms), i64::try_from(mono_ms(now.mono)));
    wall.unwrap_or(i64::MAX).saturating_sub(mono.unwrap_or(0))
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
    fn a_jump_of_the_wall_clock_is_followed_slowly() {
        let mut clock = SteadyClock::start(at(1_000_000, 0));
        assert_eq!(clock.read(at(1_000_000, 0)), 1_000_000);
        let jumped = at(1_000_000 + 3_600_000, 10);
        assert_eq!(clock.read(jumped), 1_010_000, "the jump itself changes nothing");
        clock.advance(jumped);
        assert_eq!(clock.read(jumped), 1_011_000, "one second in ten");
        let back = at(1_000_000, 20);
        clock.advance(back);
        assert_eq!(clock.read(back), 1_020_000, "and back, but never backwards");
    }

    #[test]
    fn a_wall_clock_that_is_wrong_is_not_followed_until_it_is_set() {
        let mut clock = SteadyClock::start(at(3_600_000, 0));
        clock.follow_others(-3_600_000);
        clock.advance(at(3_700_000, 100));
        assert_eq!(clock.read(at(3_700_000, 100)), 100_000);
        clock.advance(at(101_000, 101));
        assert_eq!(clock.read(at(101_000, 101)), 101_000, "it was set right");
    }

    #[test]
    fn without_jumps_it_is_the_wall_clock() {
        let mut clock = SteadyClock::start(at(5_000, 0));
        for second in 1..100 {
            let now = at(5_000 + second * 1000, second);
            clock.advance(now);
            assert_eq!(clock.read(now), now.wall_ms);
        }
    }
}
