//! What the core is still to be told: a bounded queue, sent in order, one batch at a time.
//!
//! ```text
//! push ──► queue ──► batch under way ──► 200: forgotten
//!            ▲              └── no answer, 5xx: sent again after a pause      4xx: dropped, it would fail again
//! ```
//! Operations of one session are never overtaken by later ones of the same VM. An operation may reach the core
//! twice (a reply that was lost), which changes nothing: setting, removing, touching and ending are idempotent.
//! Pure: [`crate`] makes the calls.

use std::collections::VecDeque;

use limpet_wire::report::{OPERATIONS_MAX, Operation, Report};

/// The most bytes waiting, roughly counted; past it the oldest operations are dropped and counted.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// The most operations waiting; past it the oldest are dropped and counted.
pub const QUEUE_MAX: usize = 65_536;
/// A batch ends before it has more bytes than this, roughly counted; a larger operation goes alone.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// The proxy's limit for one report, in milliseconds.
pub const CALL_MS: u64 = 5_000;
/// After this a report without a reply is sent again, because the proxy's own limit should have ended it.
pub const CALL_LOST_MS: u64 = CALL_MS + 1_000;
/// The first pause after a report that got no answer, in milliseconds; it doubles.
pub const BACKOFF_FIRST_MS: u64 = 100;
/// The longest such pause, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 2_000;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The core took this many operations.
    Taken(usize),
    /// The core will never take these; dropped.
    Refused(usize),
    /// Nobody knows; they are sent again.
    Retry,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Reporter {
    waiting: VecDeque<Operation>,
    bytes: usize,
    sent: Vec<Operation>,
    call: Option<Call>,
    send_at: u64,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    token: Option<u32>,
    started: u64,
}

impl Reporter {
    /// Queues an operation. Gives the number of older ones that were dropped for it.
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

    /// Takes what waits for a session, so that a report that does not queue can say it first.
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

    /// The next batch, if it is time for one. It is under way from now; follow with [`Self::called`].
    pub fn next(&mut self, now: u64) -> Option<Report> {
        if self
            .call
            .is_some_and(|call| now.saturating_sub(call.started) >= CALL_LOST_MS)
        {
            self.retry(now);
        }
        // A pause far longer than any was made before the clock was set back.
        let paused = now < self.send_at && self.send_at <= now.saturating_add(BACKOFF_MAX_MS);
        if self.call.is_some() || self.waiting.is_empty() || paused {
            return None;
        }
        let mut bytes = 0;
        while let Some(first) = self.waiting.front() {
            bytes += size(first);
            if self.sent.len() >= OPERATIONS_MAX || (bytes > BATCH_BYTES_MAX && !self.sent.is_empty()) {
                break;
            }
            self.bytes = self.bytes.saturating_sub(size(first));
            self.sent.extend(self.waiting.pop_front());
        }
        self.call = Some(Call {
            token: None,
            started: now,
        });
        Some(Report {
            operations: self.sent.clone(),
        })
    }

    /// The batch went out under `token`, or could not.
    pub fn called(&mut self, token: Option<u32>, now: u64) {
        match (token, &mut self.call) {
            (Some(_), Some(call)) => call.token = token,
            _ => self.retry(now),
        }
    }

    /// A reply. `None`: it is not this queue's.
    pub fn replied(&mut self, token: u32, status: Option<u16>, now: u64) -> Option<Outcome> {
        if self.call.and_then(|call| call.token) != Some(token) {
            return None;
        }
        let count = self.sent.len();
        Some(match status {
            Some(200..=299) => {
                self.over();
                Outcome::Taken(count)
            }
            Some(400..=499) => {
                self.over();
                Outcome::Refused(count)
            }
            _ => {
                self.retry(now);
                Outcome::Retry
            }
        })
    }

    /// Drops the batch that is under way: it cannot even be written.
    pub fn drop_batch(&mut self) -> usize {
        let count = self.sent.len();
        self.over();
        count
    }

    fn over(&mut self) {
        self.sent.clear();
        self.call = None;
        self.failures = 0;
        self.send_at = 0;
    }

    fn retry(&mut self, now: u64) {
        for operation in self.sent.drain(..).rev() {
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

/// Roughly the bytes an operation takes, in memory and on the wire.
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
        let mut reporter = Reporter::default();
        reporter.push(operation("a", 1));
        reporter.push(operation("b", 1));
        assert_eq!(ids(&reporter.next(0).unwrap()), ["a", "b"]);
        reporter.called(Some(4), 0);
        reporter.push(operation("c", 1));
        assert_eq!(reporter.next(1), None);
        assert_eq!(reporter.replied(8, Some(200), 1), None);
        assert_eq!(reporter.replied(4, Some(200), 1), Some(Outcome::Taken(2)));
        assert_eq!(ids(&reporter.next(1).unwrap()), ["c"]);
    }

    #[test]
    fn what_got_no_answer_goes_first_again() {
        let mut reporter = Reporter::default();
        reporter.push(operation("a", 1));
        for (status, token) in [(None, 4), (Some(503), 8), (Some(504), 12)] {
            let now = reporter.send_at;
            assert_eq!(ids(&reporter.next(now).unwrap()), ["a"]);
            reporter.called(Some(token), now);
            reporter.push(operation("b", 1));
            assert_eq!(reporter.replied(token, status, now), Some(Outcome::Retry));
            reporter.take("", "b");
            assert_eq!(reporter.next(now), None, "first a pause");
        }
        let now = reporter.send_at;
        assert_eq!(ids(&reporter.next(now).unwrap()), ["a"]);
        reporter.called(None, now);
        assert!(reporter.send_at > now);
    }

    #[test]
    fn what_the_core_will_never_take_is_not_sent_again() {
        let mut reporter = Reporter::default();
        reporter.push(operation("a", 1));
        reporter.next(0).unwrap();
        reporter.called(Some(4), 0);
        assert_eq!(reporter.replied(4, Some(400), 0), Some(Outcome::Refused(1)));
        assert_eq!(reporter.next(0), None);
    }

    #[test]
    fn a_lost_reply_does_not_stop_the_queue() {
        let mut reporter = Reporter::default();
        reporter.push(operation("a", 1));
        reporter.next(0).unwrap();
        reporter.called(Some(4), 0);
        assert_eq!(reporter.next(CALL_LOST_MS - 1), None);
        assert_eq!(reporter.next(CALL_LOST_MS), None, "a pause first");
        assert_eq!(ids(&reporter.next(reporter.send_at).unwrap()), ["a"]);
        assert_eq!(
            reporter.replied(4, Some(200), CALL_LOST_MS),
            None,
            "the late reply is nobody's"
        );
    }

    #[test]
    fn the_oldest_are_dropped_when_the_core_stays_away() {
        let mut reporter = Reporter::default();
        let mut dropped = 0;
        for n in 0..20 {
            dropped += reporter.push(operation(&n.to_string(), 1 << 20));
        }
        assert!(dropped >= 12, "{dropped}");
        assert!(reporter.bytes <= QUEUE_BYTES_MAX);
        assert_eq!(
            ids(&reporter.next(0).unwrap()),
            [dropped.to_string()],
            "one large operation is a batch"
        );
    }

    #[test]
    fn a_batch_has_at_most_what_a_report_may_have() {
        let mut reporter = Reporter::default();
        for n in 0..=OPERATIONS_MAX {
            reporter.push(operation(&n.to_string(), 1));
        }
        assert_eq!(reporter.next(0).unwrap().operations.len(), OPERATIONS_MAX);
    }

    #[test]
    fn what_waits_for_a_session_can_be_said_first() {
        let mut reporter = Reporter::default();
        for id in ["a", "b", "a"] {
            reporter.push(operation(id, 1));
        }
        assert_eq!(reporter.take("", "a").len(), 2);
        assert_eq!(ids(&reporter.next(0).unwrap()), ["b"]);
        assert_eq!(reporter.bytes, 0);
    }
}
