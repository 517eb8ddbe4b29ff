//! Counters of the filters, defined once per VM and counted by id.
//!
//! Names are written as Prometheus writes them, label included: `limpet_router_decisions_total{level="token"}`.
//! limpet-host serves them as they are; Envoy puts `wasmcustom.` in front and needs one `stats_tags` entry to see
//! the label (docs/ENVOY.md). A host without metrics costs nothing: the counter then does nothing.

use crate::hostcalls;

/// A number that only grows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter(Option<u32>);

impl Counter {
    /// Defines the counter in this VM; the same name in another VM of the process is the same counter.
    #[must_use]
    pub fn define(name: &str) -> Self {
        Self(hostcalls::define_counter(name))
    }

    /// Adds one.
    pub fn increment(self) {
        self.add(1);
    }

    /// Adds `n`; zero is not told to the host, which would call it an error.
    pub fn add(self, n: u64) {
        if let (Some(id), 1..) = (self.0, n) {
            hostcalls::increment_metric(id, i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
}
