//! A queue of deadlines: which session to look at when. Its entries are hints.
//!
//! A session's deadline moves with every touch, and moving it in the queue would cost every request. So an entry stays
//! where it is, and the caller that pops it looks at the session and, if it was touched meanwhile, adds it again.
//!
//! What a deadline means belongs to [`crate::engine`].

use std::collections::BTreeSet;

use crate::base::id::SessionKey;

/// Sessions by the wall-clock time, in milliseconds, at which to look at them.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// Time and whether the entry is a lasting one in one number, which keeps an entry small: twice the time, and
    /// one more for a lasting one.
    ///
    /// A tree, because a heap in one piece of memory moves all of it when it grows, and every caller waits meanwhile.
    entries: BTreeSet<(u64, SessionKey)>,
}

impl Deadlines {
    /// Looks at `key` at `at_ms`. The caller adds a key when it is new and again whenever [`Self::pop_due`] hands
    /// it back as lasting, so there is one lasting entry per record.
    pub fn add(&mut self, at_ms: u64, key: SessionKey) {
        self.entries.insert((twice(at_ms) | 1, key));
    }

    /// Looks at `key` at `at_ms` as well: its deadline moved forward. Not to be added again when popped.
    pub fn add_once(&mut self, at_ms: u64, key: SessionKey) {
        self.entries.insert((twice(at_ms), key));
    }

    /// The next session whose time has come, and whether its entry was a lasting one.
    pub fn pop_due(&mut self, now_ms: u64) -> Option<(SessionKey, bool)> {
        let (at, _) = self.entries.first()?;
        if at >> 1 > now_ms {
            return None;
        }
        self.entries.pop_first().map(|(at, key)| (key, at & 1 == 1))
    }
}

/// A time so far off that it cannot be doubled is as good as any other that never comes.
const fn twice(at_ms: u64) -> u64 {
    at_ms.saturating_mul(2) & !1
}
