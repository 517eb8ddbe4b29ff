//! A pool of kept-alive connections to one endpoint, of one thread. The one used last is used next.
//!
//! It keeps at most [`IDLE_MAX`] idle connections and closes those that have been idle for [`IDLE_SWEEPS`] sweeps.
//! Choosing the endpoint and trying again are left to the caller.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::connection::{ConnectError, Connection};
use super::endpoint::Endpoint;

/// The most idle connections kept; further ones are closed.
pub const IDLE_MAX: usize = 512;
/// How often [`Pool::sweep`] is to be called.
pub const SWEEP: Duration = Duration::from_secs(5);
/// How many sweeps an idle connection is kept: half a minute, which is less than most workers keep theirs.
pub const IDLE_SWEEPS: u32 = 6;

/// The connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    endpoint: Endpoint,
    connect_timeout: Duration,
    idle: RefCell<Vec<(Connection, u32)>>,
    /// Counts sweeps; the age of an idle connection is measured in them.
    sweeps: Cell<u32>,
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub const fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self {
            endpoint,
            connect_timeout,
            idle: RefCell::new(Vec::new()),
            sweeps: Cell::new(0),
        }
    }

    /// Where its connections go.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A kept connection that still works, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, _) = self.idle.borrow_mut().pop()?;
            if connection.usable() {
                return Some(connection);
            }
        }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// See [`ConnectError`]; also when it takes longer than the connect timeout.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let connected = match tokio::time::timeout(self.connect_timeout, self.endpoint.connect()).await {
            Ok(Ok(socket)) => Connection::http1(socket).await,
            Ok(Err(error)) => Err(ConnectError(error.to_string())),
            Err(elapsed) => Err(ConnectError(elapsed.to_string())),
        };
        connected.inspect_err(|error| {
            tracing::debug!(endpoint = %self.endpoint, error = error.0, "connect failed");
        })
    }

    /// Keeps `connection` if it can serve another request.
    pub fn put(&self, mut connection: Connection) {
        if connection.usable() {
            let mut idle = self.idle.borrow_mut();
            if idle.len() < IDLE_MAX {
                idle.push((connection, self.sweeps.get()));
            }
        }
    }

    /// Closes all kept connections: one of them proved stale, and they are of one age.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes connections that were not used for [`IDLE_SWEEPS`], and those whose peer is gone.
    pub fn sweep(&self) {
        let now = self.sweeps.get().wrapping_add(1);
        self.sweeps.set(now);
        self.idle
            .borrow_mut()
            .retain_mut(|(connection, since)| now.wrapping_sub(*since) < IDLE_SWEEPS && connection.usable());
    }
}
