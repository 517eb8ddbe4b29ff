//! Counting again, from the records, what the engine keeps count of as it goes. For operators and tests; changes
//! nothing, and takes as long as it takes to look at every record once.

use super::Engine;
use crate::base::id::BUCKETS;

/// What counting again showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selfcheck {
    /// How many records were looked at.
    pub records: usize,
    /// How many changes that wait for peers were.
    pub waiting: usize,
    /// What is kept otherwise than it was counted, a sentence each; none when all is well.
    pub differences: Vec<String>,
}

impl Selfcheck {
    fn compare<T: PartialEq + std::fmt::Display>(&mut self, what: &str, kept: &T, counted: &T) {
        if kept != counted {
            let sentence = format!("{what}: {kept} is kept, {counted} was counted");
            self.differences.push(sentence);
        }
    }
}

impl Engine {
    /// Counts again. Differences of buckets are as many as there are buckets at most.
    #[must_use]
    pub fn selfcheck(&self) -> Selfcheck {
        let mut check = Selfcheck::default();
        let (mut alive, mut bytes) = (0, 0);
        for index in 0..BUCKETS {
            let Some(bucket) = self.table.bucket(index) else {
                continue;
            };
            let mut digest = 0;
            for (key, record) in bucket.iter() {
                digest ^= record.digest();
                bytes += record.size();
                alive += usize::from(record.is_alive());
                check.records += 1;
                if key.bucket() != index {
                    let sentence = format!("bucket {index}: a session of bucket {} lies in it", key.bucket());
                    check.differences.push(sentence);
                }
            }
            check.compare(&format!("digest of bucket {index}"), &bucket.digest(), &digest);
        }
        check.compare("sessions", &self.table.alive(), &alive);
        check.compare("tombstones", &self.table.tombstones(), &(check.records - alive));
        check.compare("bytes of sessions", &self.table.bytes(), &bytes);
        for (node, peer) in &self.peers {
            let (waiting, bytes) = peer.outboxes().recount();
            check.waiting += waiting;
            let what = format!("bytes waiting for {node}");
            check.compare(&what, &peer.outboxes().bytes(), &bytes);
        }
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_a_sentence_with_both_numbers() {
        let mut check = Selfcheck::default();
        check.compare("sessions", &3, &3);
        check.compare("sessions", &3, &4);
        assert_eq!(check.differences, ["sessions: 3 is kept, 4 was counted"]);
    }
}
