//! Free loopback ports for programs that must be told theirs before they start.
//!
//! Taken from below the range the kernel gives to outgoing connections, and from a different stretch per process,
//! so that neither a client nor another test binary takes one between the check and its use.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const STRETCHES: u32 = 90;
const STRETCH: u32 = 200;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port nobody listens on, never given twice by one process.
///
/// # Panics
/// When a whole stretch is busy.
#[must_use]
pub fn free() -> u16 {
    let base = FIRST + (std::process::id() % STRETCHES) * STRETCH;
    loop {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(
            number < STRETCH,
            "no free port between {base} and {}",
            base + STRETCH
        );
        let port = u16::try_from(base + number).expect("below 65536 by the constants above");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// `127.0.0.1:` and a [`free`] port.
#[must_use]
pub fn free_addr() -> String {
    format!("127.0.0.1:{}", free())
}
