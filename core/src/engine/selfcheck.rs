//! A self-check: the sums the engine keeps, counted again from the records. For operators and tests; changes nothing.
//!
//! It looks at every record once, so it goes in steps, and the table may change between two of them. Each step compares
//! only what cannot change within it: the sums of one bucket with its records, the sums of the table with those of its
//! buckets, the sum of one peer's outboxes with their changes.

use std::ops::Bound;

use super::Engine;
use crate::base::id::NodeId;

/// How many records one step looks at, but for the rest of the bucket they end in: one bucket of a million sessions.
const RECORDS_PER_STEP: usize = 512;

/// How many differences are told in a sentence each; further ones are counted.
const DIFFERENCES_MAX: usize = 1024;

/// A self-check under way, and in the end what it showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selfcheck {
    /// How many records were looked at.
    pub records: usize,
    /// How many changes that wait for peers were.
    pub waiting: usize,
    /// What is kept otherwise than it was counted, a sentence each, [`DIFFERENCES_MAX`] at most; none when all is
    /// well.
    pub differences: Vec<String>,
    /// How many differences are not told.
    pub more: usize,
    next: Next,
}

/// What the next step looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Bucket(usize),
    /// Those of the first peer after this one.
    Outboxes(Option<NodeId>),
    /// Worker table and placement view.
    Derived,
    Nothing,
}

impl Default for Next {
    fn default() -> Self {
        Self::Bucket(0)
    }
}

impl Selfcheck {
    fn compare<T: PartialEq + std::fmt::Display>(
        &mut self,
        what: impl FnOnce() -> String,
        kept: &T,
        counted: &T,
    ) {
        if kept != counted {
            self.differ(|| format!("{}: {kept} is kept, {counted} was counted", what()));
        }
    }

    fn differ(&mut self, sentence: impl FnOnce() -> String) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(sentence());
        } else {
            self.more += 1;
        }
    }
}

impl Engine {
    /// All steps at once.
    #[must_use]
    pub fn selfcheck(&self) -> Selfcheck {
        let mut check = Selfcheck::default();
        while self.selfcheck_step(&mut check) {}
        check
    }

    /// One step of `check`; whether there is another. About a thousand records, or the outboxes of one peer.
    pub fn selfcheck_step(&self, check: &mut Selfcheck) -> bool {
        check.next = match std::mem::replace(&mut check.next, Next::Nothing) {
            Next::Bucket(first) => self.check_buckets(check, first),
            Next::Outboxes(after) => self.check_outboxes(check, after.as_ref()),
            Next::Derived => {
                self.check_derived(check);
                Next::Nothing
            }
            Next::Nothing => Next::Nothing,
        };
        check.next != Next::Nothing
    }

    fn check_derived(&self, check: &mut Selfcheck) {
        if !self.is_table_current() {
            check.differ(|| "worker table: it is not what members and workers make of it".into());
        }
        if !self.is_view_current() {
            check.differ(|| "placement: its view is not that of the members and workers".into());
        }
    }

    fn check_buckets(&self, check: &mut Selfcheck, first: usize) -> Next {
        let until = check.records + RECORDS_PER_STEP;
        for index in first.. {
            if check.records >= until {
                return Next::Bucket(index);
            }
            let Some(bucket) = self.table.bucket(index) else {
                break;
            };
            let (mut digest, mut alive, mut bytes, mut records) = (0, 0, 0, 0);
            for (key, record) in bucket.iter() {
                digest ^= record.digest();
                bytes += record.size();
                alive += usize::from(record.is_alive());
                records += 1;
                if key.bucket() != index {
                    check.differ(|| {
                        format!("bucket {index}: a session of bucket {} lies in it", key.bucket())
                    });
                }
            }
            check.records += records;
            check.compare(|| format!("digest of bucket {index}"), &bucket.digest(), &digest);
            check.compare(|| format!("sessions of bucket {index}"), &bucket.alive(), &alive);
            check.compare(|| format!("bytes of bucket {index}"), &bucket.bytes(), &bytes);
        }
        let buckets = || (0..).map_while(|index| self.table.bucket(index));
        let alive = buckets().map(|bucket| bucket.alive()).sum::<usize>();
        let records = buckets().map(|bucket| bucket.records()).sum::<usize>();
        let bytes = buckets().map(|bucket| bucket.bytes()).sum::<usize>();
        check.compare(|| "sessions".into(), &self.table.alive(), &alive);
        check.compare(
            || "records".into(),
            &(self.table.alive() + self.table.tombstones()),
            &records,
        );
        check.compare(|| "bytes of sessions".into(), &self.table.bytes(), &bytes);
        Next::Outboxes(None)
    }

    /// The outboxes of the first peer after `after`: `replication.queue_bytes` bounds them.
    fn check_outboxes(&self, check: &mut Selfcheck, after: Option<&NodeId>) -> Next {
        let later = match after {
            None => Bound::Unbounded,
            Some(node) => Bound::Excluded(node),
        };
        let mut peers = self.peers.range::<NodeId, _>((later, Bound::Unbounded));
        let Some((node, peer)) = peers.next() else {
            return Next::Derived;
        };
        let (waiting, bytes) = peer.outboxes().recount();
        check.waiting += waiting;
        check.compare(
            || format!("bytes waiting for {node}"),
            &peer.outboxes().bytes(),
            &bytes,
        );
        Next::Outboxes(Some(node.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_sentence_with_both_numbers() {
        let mut check = Selfcheck::default();
        check.compare(|| "sessions".into(), &3, &3);
        check.compare(|| "sessions".into(), &3, &4);
        assert_eq!(check.differences, ["sessions: 3 is kept, 4 was counted"]);
    }

    #[test]
    fn differences_past_the_bound_are_counted() {
        let mut check = Selfcheck::default();
        (0..DIFFERENCES_MAX + 3).for_each(|n| check.differ(|| n.to_string()));
        assert_eq!((check.differences.len(), check.more), (DIFFERENCES_MAX, 3));
    }
}
