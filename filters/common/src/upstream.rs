//! The upstream host of a response: which worker it came from, read once per response for both filters.
//!
//! Whether the worker is the one the session is bound to is left to the filters.

use std::cell::Cell;

use limpet_wire::table::{Worker, WorkerTable};

use crate::hostcalls;

/// The upstream host of one response, as the proxy reports it.
#[derive(Debug)]
pub struct Upstream {
    address: Option<Vec<u8>>,
    responded: Cell<Option<bool>>,
}

impl Upstream {
    /// Reads the upstream address. Call it in the response headers callback.
    #[must_use]
    pub fn read() -> Self {
        Self {
            address: hostcalls::property(b"upstream\0address"),
            responded: Cell::new(None),
        }
    }

    /// The worker of `table` to which the request went last.
    #[must_use]
    pub fn worker<'t>(&self, table: &'t WorkerTable) -> Option<&'t Worker> {
        table.by_addr(std::str::from_utf8(self.address.as_deref()?).ok()?)
    }

    /// Whether the response came from that worker. A local reply of the proxy has an upstream address too, where the
    /// proxy could not connect to it. One host call, made at the first use.
    #[must_use]
    pub fn responded(&self) -> bool {
        self.responded.get().unwrap_or_else(|| {
            let details = hostcalls::property(b"response\0code_details");
            let responded = details.as_deref() == Some(b"via_upstream");
            self.responded.set(Some(responded));
            responded
        })
    }
}
