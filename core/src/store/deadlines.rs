//! What to look at when: a heap of deadlines that are only ever hints.
//!
//! A session's deadline moves with every use; moving it in a heap would cost every request. So an entry stays
//! where it is, and whoever pops it asks the session again and, if it was used meanwhile, puts it back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::base::id::SessionKey;

/// Sessions by the wall-clock time, in milliseconds, at which to look at them.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(u64, SessionKey, bool)>>,
}

impl Deadlines {
    /// Looks at `key` at `at_ms`. The caller adds a key when it is new and again whenever [`Self::pop_due`] hands
    /// it back as lasting, so the heap holds one lasting entry per record.
    pub fn add(&mut self, at_ms: u64, key: SessionKey) {
        self.heap.push(Reverse((at_ms, key, true)));
    }

    /// Looks at `key` at `at_ms` as well: its deadline moved forward. Not to be added again when popped.
    pub fn add_once(&mut self, at_ms: u64, key: SessionKey) {
        self.heap.push(Reverse((at_ms, key, false)));
    }

    /// The next session whose time has come, and whether its entry was a lasting one.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(SessionKey, bool)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > now_ms {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key, lasting))| (key, lasting))
    }
}
