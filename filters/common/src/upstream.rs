//! Who answered a request: read once per response, for whichever filter asks.

use std::cell::Cell;

use limpet_wire::table::{Worker, WorkerTable};

use crate::hostcalls;

/// Who answered, as far as the proxy says.
#[derive(Debug)]
pub struct Upstream {
    address: Option<Vec<u8>>,
    answered: Cell<Option<bool>>,
}

impl Upstream {
    /// Asks the proxy. Call it while response headers are being handled.
    #[must_use]
    pub fn read() -> Self {
        Self {
            address: hostcalls::property(b"upstream\0address"),
            answered: Cell::new(None),
        }
    }

    /// The worker of `table` the request went to last.
    #[must_use]
    pub fn worker<'t>(&self, table: &'t WorkerTable) -> Option<&'t Worker> {
        table.by_addr(std::str::from_utf8(self.address.as_deref()?).ok()?)
    }

    /// Whether the response is that worker's. A reply that the proxy made itself names an address too, when it
    /// could not connect there.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.answered.get().unwrap_or_else(|| {
            let details = hostcalls::property(b"response\0code_details");
            let answered = details.as_deref() == Some(b"via_upstream");
            self.answered.set(Some(answered));
            answered
        })
    }
}
