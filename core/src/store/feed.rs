//! A feed of committed changes, for a store that rests behind the table (write-behind).
//!
//! Every change that the table takes, whoever made it, is offered to the feed in the order in which the table took it.
//! Changes of one session that wait are joined, so a slow store costs one entry per session. Nobody listens by
//! default; a closed feed costs one branch per change.
//!
//! A store is never waited for. Past the bound of bytes everything that waits is dropped, and the store is told to read
//! the whole table. What a store writes, where and when belongs to the store; the tasks between belong to
//! [`crate::drivers`].

use std::collections::VecDeque;

use crate::base::by_session::BySession;
use crate::base::id::SessionKey;
use crate::session::Record;

/// Changes for a store, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedBatch {
    /// Whether changes before these were dropped: the store has to read the whole table once.
    pub is_gap: bool,
    /// The changes: what was written since the batch before, not the whole session.
    pub changes: Vec<(SessionKey, Record)>,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct Feed(Option<Open>);

#[derive(Debug)]
struct Open {
    bytes_max: usize,
    waiting: VecDeque<(SessionKey, Record)>,
    /// Where each session waits, counted from the first change of the feed.
    by_key: BySession<u64>,
    /// The number of the first change that waits.
    first: u64,
    bytes: usize,
    is_gap: bool,
}

impl Feed {
    /// A feed that holds up to `bytes_max` bytes, as [`Record::size`] counts. What the table held before is not in it,
    /// so it begins with a gap.
    #[must_use]
    pub fn open(bytes_max: usize) -> Self {
        Self(Some(Open {
            bytes_max,
            waiting: VecDeque::new(),
            by_key: BySession::default(),
            first: 0,
            bytes: 0,
            is_gap: true,
        }))
    }

    /// Whether somebody listens.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a change. Returns whether the feed was empty before, and the store is to be woken.
    pub fn push(&mut self, key: &SessionKey, delta: &Record) -> bool {
        self.0.as_mut().is_some_and(|open| open.push(key, delta))
    }

    /// The next changes, of about `bytes` bytes; `None` when nothing waits and nothing was dropped.
    pub fn take(&mut self, bytes: usize) -> Option<FeedBatch> {
        self.0.as_mut()?.take(bytes)
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |open| open.bytes)
    }
}

impl Open {
    fn push(&mut self, key: &SessionKey, delta: &Record) -> bool {
        let was_empty = self.waiting.is_empty() && !self.is_gap;
        match self.by_key.get(key).and_then(|number| self.at(*number)) {
            Some(at) => {
                if let Some((_, known)) = self.waiting.get_mut(at) {
                    self.bytes -= known.size();
                    known.join(delta);
                    self.bytes += known.size();
                }
            }
            None => {
                let number = self.first + self.waiting.len() as u64;
                self.by_key.insert(key.clone(), number);
                self.bytes += delta.size();
                self.waiting.push_back((key.clone(), delta.clone()));
            }
        }
        if self.bytes > self.bytes_max {
            self.first += self.waiting.len() as u64;
            self.waiting = VecDeque::new();
            self.by_key = BySession::default();
            self.bytes = 0;
            self.is_gap = true;
        }
        was_empty
    }

    fn at(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    fn take(&mut self, bytes: usize) -> Option<FeedBatch> {
        let is_gap = std::mem::take(&mut self.is_gap);
        let (mut changes, mut taken) = (Vec::new(), 0);
        while taken < bytes
            && let Some((key, delta)) = self.waiting.pop_front()
        {
            self.first += 1;
            self.by_key.remove(&key);
            taken += delta.size();
            changes.push((key, delta));
        }
        self.bytes -= taken;
        (is_gap || !changes.is_empty()).then_some(FeedBatch { is_gap, changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Stamp, Touch};

    fn key(id: &str) -> SessionKey {
        SessionKey::parse("default", id).unwrap()
    }

    fn touch(at_ms: u64) -> Record {
        let life = Stamp { time: 1, node: 1 };
        Record::touch_only(Touch { life, at_ms })
    }

    fn opened(bytes_max: usize) -> Feed {
        let mut feed = Feed::open(bytes_max);
        let first = feed.take(1).unwrap();
        assert_eq!((first.is_gap, first.changes.len()), (true, 0), "the table itself");
        feed
    }

    #[test]
    fn nothing_is_kept_while_nobody_listens() {
        let mut feed = Feed::default();
        assert!(!feed.push(&key("S1"), &touch(1)));
        assert_eq!((feed.bytes(), feed.take(usize::MAX)), (0, None));
    }

    #[test]
    fn changes_come_in_order_and_those_of_one_session_are_joined() {
        let mut feed = opened(1 << 20);
        assert!(feed.push(&key("S1"), &touch(1)), "the store is woken");
        assert!(!feed.push(&key("S2"), &touch(2)), "once");
        feed.push(&key("S1"), &touch(3));
        let first = feed.take(1).unwrap();
        assert_eq!(first.changes, [(key("S1"), touch(3))]);
        feed.push(&key("S1"), &touch(4));
        let rest = feed.take(usize::MAX).unwrap();
        assert_eq!(
            rest.changes,
            [(key("S2"), touch(2)), (key("S1"), touch(4))],
            "what was taken takes no more changes"
        );
        assert!(!rest.is_gap);
        assert_eq!((feed.bytes(), feed.take(usize::MAX)), (0, None));
    }

    #[test]
    fn past_the_bound_the_store_is_told_to_read_the_table() {
        let mut feed = opened(1000);
        for n in 0..100 {
            feed.push(&key(&format!("S{n}")), &touch(n));
            assert!(feed.bytes() <= 1000);
        }
        assert!(feed.take(usize::MAX).unwrap().is_gap);
        feed.push(&key("S1"), &touch(1));
        let after = feed.take(usize::MAX).unwrap();
        assert_eq!((after.is_gap, after.changes.len()), (false, 1));
    }
}
