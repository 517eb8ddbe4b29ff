//! The report queue: operations that the core has not acknowledged, bounded, sent in order, one batch at a time.
//!
//! ```text
//! push ──► queue ──► batch in flight ──┬─► 2xx: done
//!            ▲                         ├─► 4xx: dropped, because it would be refused again
//!            └──── after a pause ◄─────┴── no answer, 5xx
//! ```
//! The operations of one session stay in order. An operation may reach the core twice (where a reply was lost), which
//! changes nothing: setting, removing, touching and deleting are idempotent. Pure: the calls are made by
//! [`crate::binder`].

use std::collections::VecDeque;

use limpet_wire::report::{OPERATIONS_MAX, Operation, Report};

/// The most bytes in the queue, estimated; beyond it the oldest operations are dropped and counted.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// The most operations in the queue; beyond it the oldest are dropped and counted.
pub const QUEUE_MAX: usize = 65_536;
/// The most bytes of a batch, estimated; a larger operation is a batch of its own.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The timeout of one report in the proxy, in milliseconds.
pub const REPORT_TIMEOUT_MS: u64 = 5_000;
/// After this a report without a reply is sent again, in milliseconds; the proxy's timeout should have ended it before.
pub const REPORT_LOST_MS: u64 = REPORT_TIMEOUT_MS + 1_000;
/// The first pause after a report without an answer, in milliseconds; it doubles.
pub const BACKOFF_FIRST_MS: u64 = 100;
/// The longest such pause, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 2_000;

/// The outcome of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The core accepted the report.
    Accepted,
    /// The core refused the report for good: this many operations are dropped.
    Refused(usize),
    /// Unknown; the operations are sent again.
    Retry,
}

/// The queue of one plugin and VM.
#[derive(Debug, Default)]
pub struct ReportQueue {
    waiting: VecDeque<Operation>,
    bytes: usize,
    batch: Vec<Operation>,
    call: Option<Call>,
    send_at: u64,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    token: Option<u32>,
    started: u64,
}

impl ReportQueue {
    /// Adds an operation. Returns the number of older ones that were dropped for it.
    pub fn push(&mut self, operation: Operation) -> usize {
        self.bytes = self.bytes.saturating_add(size(&operation));
        self.waiting.push_back(operation);
        self.trim()
    }

    fn trim(&mut self) -> usize {
        let mut dropped = 0;
        while self.waiting.len() > QUEUE_MAX || (self.bytes > QUEUE_BYTES_MAX && self.waiting.len() > 1) {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(size(&oldest));
            dropped += 1;
        }
        dropped
    }

    /// Removes the operations of one session from the queue, for a report that is sent at once and must keep their
    /// order.
    pub fn take(&mut self, app: &str, id: &str) -> Vec<Operation> {
        let of_session = |operation: &Operation| operation.id == id && operation.app == app;
        if !self.waiting.iter().any(of_session) {
            return Vec::new();
        }
        let (taken, left): (Vec<_>, VecDeque<_>) = self.waiting.drain(..).partition_into(of_session);
        self.waiting = left;
        self.bytes = self.waiting.iter().map(size).sum();
        taken
    }

    /// The next batch, if one is due; it is in flight from now on. Follow with [`Self::on_sent`].
    pub fn next(&mut self, now: u64) -> Option<Report> {
        if self
            .call
            .is_some_and(|call| now.saturating_sub(call.started) >= REPORT_LOST_MS)
        {
            self.retry(now);
        }
        // A pause longer than any can be began before the clock was set back.
        let paused = now < self.send_at && self.send_at <= now.saturating_add(BACKOFF_MAX_MS);
        if self.call.is_some() || self.waiting.is_empty() || paused {
            return None;
        }
        let mut bytes = 0;
        while let Some(first) = self.waiting.front() {
            bytes += size(first);
            if self.batch.len() >= OPERATIONS_MAX || (bytes > BATCH_BYTES_MAX && !self.batch.is_empty()) {
                break;
            }
            self.bytes = self.bytes.saturating_sub(size(first));
            self.batch.extend(self.waiting.pop_front());
        }
        self.call = Some(Call {
            token: None,
            started: now,
        });
        Some(Report {
            operations: self.batch.clone(),
        })
    }

    /// The batch was sent under `token`; `None` where it could not be.
    pub fn on_sent(&mut self, token: Option<u32>, now: u64) {
        match (token, &mut self.call) {
            (Some(_), Some(call)) => call.token = token,
            _ => self.retry(now),
        }
    }

    /// The reply to a call. `None`: the call was not a report of this queue.
    pub fn on_reply(&mut self, token: u32, status: Option<u16>, now: u64) -> Option<Outcome> {
        if self.call.and_then(|call| call.token) != Some(token) {
            return None;
        }
        Some(match status {
            Some(200..=299) => {
                self.end_batch();
                Outcome::Accepted
            }
            Some(400..=499) => {
                let count = self.batch.len();
                self.end_batch();
                Outcome::Refused(count)
            }
            _ => {
                self.retry(now);
                Outcome::Retry
            }
        })
    }

    /// Drops the batch in flight, because it cannot be encoded. Returns its number of operations.
    pub fn drop_batch(&mut self) -> usize {
        let count = self.batch.len();
        self.end_batch();
        count
    }

    fn end_batch(&mut self) {
        self.batch.clear();
        self.call = None;
        self.failures = 0;
        self.send_at = 0;
    }

    fn retry(&mut self, now: u64) {
        for operation in self.batch.drain(..).rev() {
            self.bytes = self.bytes.saturating_add(size(&operation));
            self.waiting.push_front(operation);
        }
        self.call = None;
        let pause = BACKOFF_FIRST_MS
            .saturating_mul(1 << self.failures.min(10))
            .min(BACKOFF_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.send_at = now.saturating_add(pause);
    }
}

/// The estimated bytes of an operation, in memory and on the wire.
fn size(operation: &Operation) -> usize {
    let texts = operation.app.len() + operation.id.len() + operation.route.as_ref().map_or(0, String::len);
    let set: usize = operation
        .set
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    let remove: usize = operation.remove.iter().map(|name| name.len() + 4).sum();
    64 + texts + set + remove
}

/// `Iterator::partition` into two kinds of collection.
trait PartitionInto: Iterator + Sized {
    fn partition_into<A, B>(self, mut first: impl FnMut(&Self::Item) -> bool) -> (A, B)
    where
        A: Default + Extend<Self::Item>,
        B: Default + Extend<Self::Item>,
    {
        let (mut ones, mut others) = (A::default(), B::default());
        for item in self {
            if first(&item) {
                ones.extend(Some(item))
            } else {
                others.extend(Some(item))
            }
        }
        (ones, others)
    }
}

impl<I: Iterator> PartitionInto for I {}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(id: &str, bytes: usize) -> Operation {
        Operation {
            id: id.into(),
            set: vec![("a".into(), vec![0; bytes])],
            ..Operation::default()
        }
    }

    fn ids(report: &Report) -> Vec<&str> {
        report
            .operations
            .iter()
            .map(|operation| operation.id.as_str())
            .collect()
    }

    #[test]
    fn one_batch_at_a_time_in_order() {
        let mut queue = ReportQueue::default();
        queue.push(operation("a", 1));
        queue.push(operation("b", 1));
        assert_eq!(ids(&queue.next(0).unwrap()), ["a", "b"]);
        queue.on_sent(Some(4), 0);
        queue.push(operation("c", 1));
        assert_eq!(queue.next(1), None);
        assert_eq!(queue.on_reply(8, Some(200), 1), None);
        assert_eq!(queue.on_reply(4, Some(200), 1), Some(Outcome::Accepted));
        assert_eq!(ids(&queue.next(1).unwrap()), ["c"]);
    }

    #[test]
    fn operations_without_an_answer_are_sent_again_first() {
        let mut queue = ReportQueue::default();
        queue.push(operation("a", 1));
        for (status, token) in [(None, 4), (Some(503), 8), (Some(504), 12)] {
            let now = queue.send_at;
            assert_eq!(ids(&queue.next(now).unwrap()), ["a"]);
            queue.on_sent(Some(token), now);
            queue.push(operation("b", 1));
            assert_eq!(queue.on_reply(token, status, now), Some(Outcome::Retry));
            queue.take("", "b");
            assert_eq!(queue.next(now), None, "first a pause");
        }
        let now = queue.send_at;
        assert_eq!(ids(&queue.next(now).unwrap()), ["a"]);
        queue.on_sent(None, now);
        assert!(queue.send_at > now);
    }

    #[test]
    fn refused_operations_are_not_sent_again() {
        let mut queue = ReportQueue::default();
        queue.push(operation("a", 1));
        queue.next(0).unwrap();
        queue.on_sent(Some(4), 0);
        assert_eq!(queue.on_reply(4, Some(400), 0), Some(Outcome::Refused(1)));
        assert_eq!(queue.next(0), None);
    }

    #[test]
    fn a_lost_reply_does_not_stop_the_queue() {
        let mut queue = ReportQueue::default();
        queue.push(operation("a", 1));
        queue.next(0).unwrap();
        queue.on_sent(Some(4), 0);
        assert_eq!(queue.next(REPORT_LOST_MS - 1), None);
        assert_eq!(queue.next(REPORT_LOST_MS), None, "a pause first");
        assert_eq!(ids(&queue.next(queue.send_at).unwrap()), ["a"]);
        assert_eq!(
            queue.on_reply(4, Some(200), REPORT_LOST_MS),
            None,
            "the late reply is ignored"
        );
    }

    #[test]
    fn the_oldest_are_dropped_while_the_core_is_unreachable() {
        let mut queue = ReportQueue::default();
        let mut dropped = 0;
        for n in 0..20 {
            dropped += queue.push(operation(&n.to_string(), 1 << 20));
        }
        assert!(dropped >= 12, "{dropped}");
        assert!(queue.bytes <= QUEUE_BYTES_MAX);
        assert_eq!(
            ids(&queue.next(0).unwrap()),
            [dropped.to_string()],
            "one large operation is a batch"
        );
    }

    #[test]
    fn a_batch_has_at_most_what_a_report_may_have() {
        let mut queue = ReportQueue::default();
        for n in 0..=OPERATIONS_MAX {
            queue.push(operation(&n.to_string(), 1));
        }
        assert_eq!(queue.next(0).unwrap().operations.len(), OPERATIONS_MAX);
    }

    #[test]
    fn queued_operations_of_a_session_can_be_taken() {
        let mut queue = ReportQueue::default();
        for id in ["a", "b", "a"] {
            queue.push(operation(id, 1));
        }
        assert_eq!(queue.take("", "a").len(), 2);
        assert_eq!(ids(&queue.next(0).unwrap()), ["b"]);
        assert_eq!(queue.bytes, 0);
    }
}
