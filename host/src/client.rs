//! The client's connection: who it is, and how long its request has been waiting for somebody else.
//!
//! Time is the coarse clock of the thread, which [`crate::server::watch`] advances; a timer per request would cost
//! every request, and this costs none.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Numbers connections of the process, from 1.
    pub id: u64,
    /// The address of the client.
    pub source: SocketAddr,
    /// The address it connected to.
    pub destination: SocketAddr,
    /// The address of `source`, as `X-Forwarded-For` names it.
    pub source_ip: HeaderValue,
    /// `source` as text.
    pub source_text: Rc<str>,
    /// `destination` as text.
    pub destination_text: Rc<str>,
    /// Requests of it that are not finished.
    pub open: Cell<u32>,
    /// When a request of it finished last, in milliseconds of the thread's clock.
    pub last: Cell<u64>,
    /// What its request waits for.
    pub wait: Wait,
    clock: Rc<Cell<u64>>,
}

/// A wait with an end.
#[derive(Debug, Default)]
pub struct Wait {
    since: Cell<u64>,
    limit: Cell<u64>,
    over: Cell<bool>,
}

impl Connection {
    /// A new connection on a thread with this `clock`.
    #[must_use]
    pub fn new(id: u64, source: SocketAddr, destination: SocketAddr, clock: Rc<Cell<u64>>) -> Rc<Self> {
        // An IPv4 client of an IPv6 socket is still an IPv4 client.
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let source_ip = HeaderValue::from_str(&source.ip().to_string());
        Rc::new(Self {
            id,
            source,
            destination,
            source_ip: source_ip.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            source_text: source.to_string().into(),
            destination_text: destination.to_string().into(),
            open: Cell::new(0),
            last: Cell::new(clock.get()),
            wait: Wait::default(),
            clock,
        })
    }

    /// The thread's clock, in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.get()
    }

    /// Its request waits from now on, at most for `limit`.
    pub fn begin_wait(&self, limit: Duration) {
        self.wait.since.set(self.now());
        self.wait
            .limit
            .set(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
        self.wait.over.set(false);
    }

    /// Something moved: the wait begins again.
    pub fn progress(&self) {
        self.wait.since.set(self.now());
    }

    /// A request of it is finished.
    pub fn finished(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.last.set(self.now());
        self.wait.end();
    }
}

impl Wait {
    /// Nobody waits any more.
    pub fn end(&self) {
        self.limit.set(0);
        self.over.set(false);
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.limit.get() > 0
    }

    /// Whether it lasted too long.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Looks at the clock. Whether it has just lasted too long.
    pub fn check(&self, now: u64) -> bool {
        let passed = self.is_on() && now.saturating_sub(self.since.get()) >= self.limit.get();
        passed && !self.over.replace(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_over_once_and_progress_begins_it_again() {
        let clock = Rc::new(Cell::new(1_000));
        let address = "127.0.0.1:1".parse().unwrap();
        let connection = Connection::new(1, address, address, Rc::clone(&clock));
        assert!(!connection.wait.check(u64::MAX), "nobody waits");
        connection.begin_wait(Duration::from_secs(2));
        assert!(!connection.wait.check(2_999));
        clock.set(2_000);
        connection.progress();
        assert!(!connection.wait.check(3_999));
        assert!(connection.wait.check(4_000));
        assert!(connection.wait.is_over());
        assert!(!connection.wait.check(4_500), "said once");
        connection.finished();
        assert!(!connection.wait.is_over());
    }
}
