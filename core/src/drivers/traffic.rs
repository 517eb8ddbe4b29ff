//! What passes between this node and each other one, counted where it passes. Shown by the API; decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::supervisor::lock;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::replication::position::{Sequence, StreamId};

/// How many batches without an acknowledgement are timed; of more, the oldest are not.
const TIMED_MAX: usize = 1024;

/// Messages one way: how many, their bytes, and their bytes as frames, compressed where they were.
#[derive(Debug, Default)]
pub struct OneWay {
    messages: AtomicU64,
    bytes: AtomicU64,
    wire_bytes: AtomicU64,
}

impl OneWay {
    /// So many messages passed.
    pub fn add(&self, messages: usize, bytes: usize, wire_bytes: usize) {
        self.messages.fetch_add(messages as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.wire_bytes.fetch_add(wire_bytes as u64, Relaxed);
    }

    /// Messages.
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Their bytes as frames, without what TLS adds.
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes.load(Relaxed)
    }
}

/// How long a peer takes to acknowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckTime {
    /// A moving average: each batch counts an eighth.
    pub average: Duration,
    /// The longest since that was last asked by `GET /metrics`.
    pub longest: Duration,
}

#[derive(Debug, Default)]
struct Timed {
    waiting: VecDeque<(StreamId, Sequence, Instant)>,
    time: AckTime,
}

/// What passes between this node and one other.
#[derive(Debug, Default)]
pub struct Traffic {
    /// To it.
    pub sent: OneWay,
    /// From it.
    pub received: OneWay,
    links: AtomicU64,
    timed: Mutex<Timed>,
}

impl Traffic {
    /// The first link to it was made, or made again.
    pub fn linked(&self) {
        self.links.fetch_add(1, Relaxed);
    }

    /// How often the link was made again.
    pub fn reconnects(&self) -> u64 {
        self.links.load(Relaxed).saturating_sub(1)
    }

    /// The batch that ends with `sequence` was sent at `now`.
    pub fn batch_sent(&self, stream: StreamId, sequence: Sequence, now: Instant) {
        let mut timed = self.timed();
        if timed.waiting.len() >= TIMED_MAX {
            timed.waiting.pop_front();
        }
        timed.waiting.push_back((stream, sequence, now));
    }

    /// It has acknowledged `stream` up to `sequence` at `now`.
    pub fn acknowledged(&self, stream: StreamId, sequence: Sequence, now: Instant) {
        let mut timed = self.timed();
        let Timed { waiting, time } = &mut *timed;
        waiting.retain(|(on, sent, at)| {
            let settled = *on == stream && *sent <= sequence;
            if settled {
                let took = now.saturating_duration_since(*at);
                time.average = if time.average.is_zero() {
                    took
                } else {
                    (time.average * 7 + took) / 8
                };
                time.longest = time.longest.max(took);
            }
            !settled
        });
    }

    /// How long it takes to acknowledge.
    pub fn ack_time(&self) -> AckTime {
        self.timed().time
    }

    /// The same; the longest begins anew.
    pub fn take_ack_time(&self) -> AckTime {
        let mut timed = self.timed();
        let time = timed.time;
        timed.time.longest = Duration::ZERO;
        time
    }

    fn timed(&self) -> MutexGuard<'_, Timed> {
        lock(&self.timed, "the acknowledgement times")
    }
}

/// What passes between this node and every other, by name.
#[derive(Debug, Default)]
pub struct AllTraffic(Mutex<BTreeMap<NodeId, Arc<Traffic>>>);

impl AllTraffic {
    /// That of `node`. Past twice [`MEMBERS_MAX`] names, those nobody is linked to are forgotten.
    pub fn of(&self, node: &NodeId) -> Arc<Traffic> {
        let mut all = lock(&self.0, "the traffic of peers");
        if all.len() >= 2 * MEMBERS_MAX && !all.contains_key(node) {
            all.retain(|_, traffic| Arc::strong_count(traffic) > 1);
        }
        all.entry(node.clone()).or_default().clone()
    }

    /// All there is.
    pub fn all(&self) -> BTreeMap<NodeId, Arc<Traffic>> {
        lock(&self.0, "the traffic of peers").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::streams::CONTROL;

    #[test]
    fn an_acknowledgement_times_every_batch_of_its_stream_up_to_it() {
        let (traffic, begin) = (Traffic::default(), Instant::now());
        let ms = Duration::from_millis;
        traffic.batch_sent(CONTROL, Sequence::new(5), begin);
        traffic.batch_sent(StreamId::new(1), Sequence::new(5), begin);
        traffic.batch_sent(CONTROL, Sequence::new(9), begin + ms(1));
        traffic.acknowledged(CONTROL, Sequence::new(9), begin + ms(9));
        assert_eq!(traffic.ack_time().longest, ms(9));
        assert_eq!(traffic.timed().waiting.len(), 1, "of the other stream");
        traffic.acknowledged(StreamId::new(1), Sequence::new(5), begin + ms(20));
        assert_eq!(traffic.take_ack_time().longest, ms(20));
        assert_eq!(traffic.ack_time().longest, Duration::ZERO);
        assert!(traffic.ack_time().average > ms(8));
    }

    #[test]
    fn batches_nobody_acknowledges_are_not_kept_without_end() {
        let (traffic, now) = (Traffic::default(), Instant::now());
        (0..5000).for_each(|n| traffic.batch_sent(CONTROL, Sequence::new(n), now));
        assert_eq!(traffic.timed().waiting.len(), TIMED_MAX);
    }
}
