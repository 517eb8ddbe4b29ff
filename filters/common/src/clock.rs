//! The wall clock of a VM: read from the host at every tick and kept until the next.
//!
//! A request needs the time only to the second (token stamps), so it uses the reading of the last tick and saves a
//! host call. Before the first tick the host is asked. Timers are the root context's ticks.

use std::cell::Cell;

use crate::hostcalls;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Reads the host's clock and remembers it: milliseconds since 1970.
pub fn refresh() -> u64 {
    let now = hostcalls::now_nanos().map_or_else(|| NOW.get(), |nanos| nanos / 1_000_000);
    NOW.set(now);
    now
}

/// The time of the last tick in milliseconds since 1970; at most one tick period old.
#[must_use]
pub fn now_ms() -> u64 {
    match NOW.get() {
        0 => refresh(),
        now => now,
    }
}
