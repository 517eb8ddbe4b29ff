//! A table behind a lock that is rebuilt empty when a panic has left it half-changed.
//!
//! The standard library marks such a lock as poisoned. The next user of it empties the table, counts and logs the
//! rebuild, and goes on. What guests knew about the old table is left to `vm`, which restarts them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Counts rebuilds; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Rebuilds(Arc<AtomicU64>);

impl Rebuilds {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A table that can be emptied.
pub(super) trait Rebuild {
    /// What it holds, for the log.
    const NAME: &'static str;
    /// Empties it. Numbers that guests may still know must not mean something else afterwards.
    fn rebuild(&mut self);
}

/// A table behind a lock.
#[derive(Debug, Default)]
pub(super) struct Table<T> {
    table: Mutex<T>,
    rebuilds: Rebuilds,
}

impl<T: Rebuild + Default> Table<T> {
    /// An empty table.
    pub(super) fn new(rebuilds: Rebuilds) -> Self {
        Self {
            table: Mutex::default(),
            rebuilds,
        }
    }

    /// The table, rebuilt if a panic left it half-changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.table.lock().unwrap_or_else(|poisoned| {
            let mut table = poisoned.into_inner();
            table.rebuild();
            // The guard below still holds the lock, so no other user can have missed the mark.
            self.table.clear_poison();
            self.rebuilds.0.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                table = T::NAME,
                "a panic left a table that filters share half-changed; it was rebuilt empty. This is a bug in limpet-host"
            );
            table
        })
    }
}

#[cfg(test)]
impl<T: Rebuild + Default> Table<T> {
    /// Panics while the table is locked and `half_change` has run.
    pub(super) fn poison(&self, half_change: impl FnOnce(&mut T)) {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            half_change(&mut self.lock());
            let _guard = self.lock();
            panic!("a bug under the lock");
        }));
        assert!(panicked.is_err() && self.table.is_poisoned());
    }
}
