//! Counters of the filters: counted in the VM, told to the proxy at every tick.
//!
//! Names are written as Prometheus writes them, label included: `limpet_router_decisions_total{level="token"}`.
//! limpet-host serves them as they are; Envoy puts `wasmcustom.` in front and needs one `stats_tags` entry to see
//! the label (docs/ENVOY.md). A request pays no host call for being counted; a VM that dies takes the counts of its
//! last tick along. A host without metrics costs nothing: the counter then does nothing.

use std::cell::RefCell;

use crate::hostcalls;

thread_local! {
    static COUNTS: RefCell<Vec<Count>> = const { RefCell::new(Vec::new()) };
}

struct Count {
    id: u32,
    untold: u64,
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
                counts.push(Count { id, untold: 0 });
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
                count.untold = count.untold.saturating_add(n);
            }
        });
    }
}

/// Tells the proxy what was counted since the last time.
pub fn flush() {
    COUNTS.with_borrow_mut(|counts| {
        // Zero is not told: hosts call it an error.
        for count in counts.iter_mut().filter(|count| count.untold > 0) {
            hostcalls::increment_metric(count.id, i64::try_from(count.untold).unwrap_or(i64::MAX));
            count.untold = 0;
        }
    });
}
