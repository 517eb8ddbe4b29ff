//! The clocks of a node. The wall clock is off by an amount that may change; the monotonic one begins with the process and
//! is never wrong.

use std::time::Duration;

use limpet_core::base::clock::Now;

/// Milliseconds since 1970 at which every run begins.
pub const BEGIN_MS: u64 = 1_700_000_000_000;

/// How far a node's wall clock is off, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock {
    pub off_ms: i64,
}

impl WallClock {
    /// What it shows at `at_us` of the true time.
    pub fn wall_ms(self, at_us: u64) -> u64 {
        (BEGIN_MS + at_us / 1000).saturating_add_signed(self.off_ms)
    }

    /// Both clocks of a process that began at `began_us`.
    pub fn now(self, at_us: u64, began_us: u64) -> Now {
        Now {
            wall_ms: self.wall_ms(at_us),
            mono: Duration::from_micros(at_us - began_us),
        }
    }
}
