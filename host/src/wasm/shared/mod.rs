//! What the guests of all threads have in common: shared data, queues and metrics.
//!
//! Ticks, call-outs and definitions take the locks here; counting a metric takes none. A panic under a lock leaves a
//! table half-changed: it is rebuilt empty before it is used again ([`rebuild`]), and every virtual machine restarts,
//! because what it had registered is gone.

use std::fmt::Write as _;
use std::sync::Arc;

pub mod data; // key-value data, one space per vm_id
pub mod metric; // metrics that guests define
pub mod queue; // queues between guests
pub mod rebuild; // tables that survive a panic

use rebuild::Rebuilds;

/// One set per process.
#[derive(Debug)]
pub struct Shared {
    /// How often one of the tables was rebuilt.
    pub rebuilds: Rebuilds,
    /// Queues.
    pub queues: queue::Queues,
    /// The metrics guests define.
    pub metrics: metric::Metrics,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        let rebuilds = Rebuilds::default();
        Self {
            queues: queue::Queues::new(rebuilds.clone()),
            metrics: metric::Metrics::new(rebuilds.clone()),
            rebuilds,
        }
    }

    /// An empty space of shared data.
    #[must_use]
    pub fn space(&self) -> Arc<data::Space> {
        Arc::new(data::Space::new(self.rebuilds.clone()))
    }

    /// Prints the filters' metrics, and how often a table was rebuilt, in the Prometheus text format.
    pub fn print(&self, out: &mut String) {
        let name = "limpet_host_shared_rebuilds_total";
        let _ = writeln!(
            out,
            "# HELP {name} Tables shared by filters that were rebuilt empty after a panic.\n\
             # TYPE {name} counter\n{name} {}",
            self.rebuilds.count()
        );
        self.metrics.print(out);
    }
}
