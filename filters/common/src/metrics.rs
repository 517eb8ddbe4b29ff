//! The counters of the filters: counted in the VM, reported to the proxy at every tick.
//!
//! Names are written as Prometheus writes them, label included: `limpet_router_decisions_total{level="token"}`.
//! limpet-host serves them as they are; Envoy prefixes `wasmcustom.` and needs one `stats_tags` entry for each label
//! (docs/ENVOY.md). Counting costs a request no host call; a VM that dies loses the counts since its last tick. On a
//! host without metrics a counter does nothing. Gauges and histograms are left to the proxy.

use std::cell::RefCell;

use crate::hostcalls;

thread_local! {
    static COUNTS: RefCell<Vec<Count>> = const { RefCell::new(Vec::new()) };
}

struct Count {
    id: u32,
    unreported: u64,
}

/// A number that only grows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter(Option<usize>);

impl Counter {
    /// Defines the counter in this VM; the same name again, here or in another VM of the process, is the same
    /// counter.
    #[must_use]
    pub fn define(name: &str) -> Self {
        let Some(id) = hostcalls::define_counter(name) else {
            return Self(None);
        };
        Self(Some(COUNTS.with_borrow_mut(|counts| {
            counts.iter().position(|count| count.id == id).unwrap_or_else(|| {
                counts.push(Count { id, unreported: 0 });
                counts.len() - 1
            })
        })))
    }

    /// Adds one.
    pub fn increment(self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(self, n: u64) {
        let Some(at) = self.0 else { return };
        COUNTS.with_borrow_mut(|counts| {
            if let Some(count) = counts.get_mut(at) {
                count.unreported = count.unreported.saturating_add(n);
            }
        });
    }
}

/// Reports to the proxy what was counted since the last call.
pub fn flush() {
    COUNTS.with_borrow_mut(|counts| {
        // Zero is not reported: hosts refuse it.
        for count in counts.iter_mut().filter(|count| count.unreported > 0) {
            hostcalls::increment_metric(count.id, i64::try_from(count.unreported).unwrap_or(i64::MAX));
            count.unreported = 0;
        }
    });
}
