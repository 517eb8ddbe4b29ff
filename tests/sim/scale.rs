//! What a node costs in a large domain: virtual time in steps, every message arrives in the step after the one it was
//! sent in, and nothing fails but the one node that does. Figures are counts and virtual times, the same on every
//! machine. [`members`] is membership alone, [`domain`] whole engines. Odd networks and clocks are [`crate::run`]'s.

mod domain;
mod members;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use limpet_core::membership::{SwimConfig, Timer};

/// The defaults of the configuration.
pub const SWIM: SwimConfig = SwimConfig {
    probe_interval: Duration::from_millis(500),
    drop_time: Duration::from_secs(3),
};
/// Milliseconds since 1970 at which it begins.
pub const BEGIN_MS: u64 = 1_700_000_000_000;
/// The node that dies. Not the one everybody came to know the others by.
pub const VICTIM: usize = 1;

/// What a node sent per second in a quiet window.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub messages: f64,
    pub bytes: f64,
}

/// What was sent so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    messages: u64,
    bytes: u64,
}

impl Sent {
    pub fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }

    pub fn rate(self, before: Self, nodes: usize, time: Duration) -> Rate {
        let node_seconds = nodes as f64 * time.as_secs_f64();
        Rate {
            messages: (self.messages - before.messages) as f64 / node_seconds,
            bytes: (self.bytes - before.bytes) as f64 / node_seconds,
        }
    }
}

/// Where node `index` listens.
pub fn addr_of(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index / 250) as u8, (index % 250) as u8 + 1], 4000))
}

pub fn index_of(addr: SocketAddr) -> usize {
    match addr {
        SocketAddr::V4(v4) => {
            let [_, _, high, low] = v4.ip().octets();
            usize::from(high) * 250 + usize::from(low) - 1
        }
        SocketAddr::V6(_) => unreachable!("no node has such an address"),
    }
}

/// How many nodes take their turns side by side. Their order makes no difference: nothing sent in a step arrives in it.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Timers by when they are due, and in the order in which they were started.
#[derive(Default)]
pub struct Timers {
    due: BTreeMap<(Duration, u64), Timer>,
    started: u64,
}

impl Timers {
    pub fn start(&mut self, at: Duration, timer: Timer) {
        self.started += 1;
        self.due.insert((at, self.started), timer);
    }

    pub fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
