//! The idle connections of one pool. The one used last is used next.
//!
//! At most [`IDLE_MAX`] are kept, each for [`IDLE_SWEEPS`] sweeps. Opening connections is left to `pool`.

use std::cell::{Cell, RefCell};

use super::connection::Connection;

/// The most idle connections kept; further ones are closed.
pub const IDLE_MAX: usize = 512;
/// How many sweeps an idle connection is kept: half a minute, which is less than most workers keep theirs.
pub const IDLE_SWEEPS: u32 = 6;

/// Idle connections.
#[derive(Debug, Default)]
pub struct Idle {
    connections: RefCell<Vec<(Connection, u32)>>,
    /// Counts sweeps; the age of an idle connection is measured in them.
    sweeps: Cell<u32>,
}

impl Idle {
    /// A kept connection that still works, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, _) = self.connections.borrow_mut().pop()?;
            if connection.usable() {
                return Some(connection);
            }
        }
    }

    /// Keeps `connection` if it can serve another request.
    pub fn put(&self, mut connection: Connection) {
        if connection.usable() {
            let mut connections = self.connections.borrow_mut();
            if connections.len() < IDLE_MAX {
                connections.push((connection, self.sweeps.get()));
            }
        }
    }

    /// Closes all of them.
    pub fn clear(&self) {
        self.connections.borrow_mut().clear();
    }

    /// Closes those that were not used for [`IDLE_SWEEPS`], and those whose peer is gone.
    pub fn sweep(&self) {
        let now = self.sweeps.get().wrapping_add(1);
        self.sweeps.set(now);
        self.connections
            .borrow_mut()
            .retain_mut(|(connection, since)| now.wrapping_sub(*since) < IDLE_SWEEPS && connection.usable());
    }
}
