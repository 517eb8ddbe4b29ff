//! The outboxes of one peer: one for each stream to it, and one bound of bytes for all of them.
//!
//! Changes of a session always take the same stream, so their order is kept; those of other sessions do not wait for
//! them. Past the bound everything is dropped (an *overflow*), and the peer is repaired from the table. Touches are no
//! part of the digests that repair compares, so the outboxes also know up to which moment everything was acknowledged.
//!
//! Repair itself is in [`crate::engine`].

use super::outbox::{self, Dropped, Outbox};
use super::position::{Sequence, StreamId, StreamPosition};
use crate::base::id::SessionKey;
use crate::session::Record;

/// The most links to one peer; a configuration or a hello with more is refused.
pub const STREAMS_MAX: u8 = 16;

/// The stream that also carries control messages; a peer counts as linked while it is up.
pub const CONTROL: StreamId = StreamId::new(0);

/// The stream of `key` where there are `streams` of them.
#[must_use]
pub fn stream_of(key: &SessionKey, streams: usize) -> StreamId {
    StreamId::at_index(key.bucket() % streams.max(1))
}

/// See the module page.
#[derive(Debug)]
pub struct Outboxes {
    streams: Vec<Outbox>,
    bytes_max: usize,
    /// Set by an overflow: everything pushed before this moment had been acknowledged.
    overflow_since_ms: Option<u64>,
    dropped: u64,
    to_free: Vec<Dropped>,
    mark: Option<Mark>,
    acknowledged_until_ms: u64,
}

/// The next sequence of each stream at some moment.
#[derive(Debug)]
struct Mark {
    at_ms: u64,
    next: Vec<Sequence>,
}

impl Outboxes {
    /// Outboxes of `streams` streams that hold up to `bytes_max` bytes together; each begins at the sequence `first`.
    #[must_use]
    pub fn new(streams: usize, bytes_max: usize, first: Sequence) -> Self {
        Self {
            streams: (0..streams.max(1)).map(|_| Outbox::new(first)).collect(),
            bytes_max,
            overflow_since_ms: None,
            dropped: 0,
            to_free: Vec::new(),
            mark: None,
            acknowledged_until_ms: 0,
        }
    }

    /// How many streams there are.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.streams.len()
    }

    /// One stream's outbox.
    #[must_use]
    pub fn stream(&self, stream: StreamId) -> Option<&Outbox> {
        self.streams.get(stream.index())
    }

    /// One stream's outbox, to be changed.
    pub fn stream_mut(&mut self, stream: StreamId) -> Option<&mut Outbox> {
        self.streams.get_mut(stream.index())
    }

    /// Adds a change; returns the position whose acknowledgement means that the peer has it, or `None` if the bound was
    /// passed and everything was dropped.
    pub fn push(&mut self, key: &SessionKey, delta: Record) -> Option<StreamPosition> {
        let stream = stream_of(key, self.streams.len());
        let sequence = self.stream_mut(stream)?.push(key, delta);
        if self.bytes() <= self.bytes_max {
            return Some(StreamPosition { stream, sequence });
        }
        self.drop_all();
        None
    }

    /// Drops everything that was not acknowledged, as when the bound is passed: repair brings it.
    pub fn drop_all(&mut self) {
        for stream in &mut self.streams {
            let changes = stream.drop_all();
            self.dropped += changes.len() as u64;
            self.to_free.push(changes);
        }
        self.overflow_since_ms = self.overflow_since_ms.or(Some(self.acknowledged_until_ms));
    }

    /// Takes what was dropped and was not freed yet.
    pub fn take_dropped(&mut self) -> Vec<Dropped> {
        std::mem::take(&mut self.to_free)
    }

    /// Whether there is room for a change that can wait: half of the bound is kept for those that cannot.
    #[must_use]
    pub fn has_room_for(&self, key: &SessionKey, delta: &Record) -> bool {
        self.bytes() + outbox::size(key, delta) <= self.bytes_max / 2
    }

    /// It is `now_ms`. To be called from time to time, so that [`Self::acknowledged_until_ms`] advances.
    pub fn advance_time(&mut self, now_ms: u64) {
        let streams = &self.streams;
        let is_acknowledged_below = |mark: &Mark| {
            streams
                .iter()
                .zip(&mark.next)
                .all(|(outbox, next)| outbox.is_acknowledged_below(*next))
        };
        if self.mark.as_ref().is_none_or(is_acknowledged_below) {
            let next = streams.iter().map(Outbox::next).collect();
            if let Some(mark) = self.mark.replace(Mark { at_ms: now_ms, next }) {
                self.acknowledged_until_ms = mark.at_ms;
            }
        }
    }

    /// Everything pushed before this moment was acknowledged or dropped.
    #[must_use]
    pub const fn acknowledged_until_ms(&self) -> u64 {
        self.acknowledged_until_ms
    }

    /// Bytes that wait or were not acknowledged.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.streams.iter().map(Outbox::bytes).sum()
    }

    /// How many changes wait or were not acknowledged, and their bytes, counted anew.
    #[must_use]
    pub fn recount(&self) -> (usize, usize) {
        let all = self.streams.iter().map(Outbox::recount);
        all.fold((0, 0), |sum, (count, bytes)| (sum.0 + count, sum.1 + bytes))
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.streams.iter().any(Outbox::has_waiting)
    }

    /// Later than every sequence given so far.
    #[must_use]
    pub fn next(&self) -> Sequence {
        self.streams.iter().map(Outbox::next).max().unwrap_or_default()
    }

    /// Changes dropped so far because the bound was passed.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes note of an overflow since this was last called: everything pushed before the returned moment had been
    /// acknowledged.
    pub const fn take_overflow(&mut self) -> Option<u64> {
        self.overflow_since_ms.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::session::{Attributes, Register, Stamp};

    fn key(id: &str) -> SessionKey {
        SessionKey::parse("default", id).unwrap()
    }

    fn write(time: u64, len: usize) -> Record {
        let stamp = Stamp { time, node: 1 };
        let register = Register {
            life: stamp,
            stamp,
            value: Some(vec![b'v'; len].into()),
        };
        Record {
            attributes: Attributes::from_iter([("a".into(), register)]),
            ..Record::default()
        }
    }

    #[test]
    fn past_the_bound_everything_is_dropped_and_the_overflow_shows_once() {
        let mut outboxes = Outboxes::new(2, 1000, Sequence::new(1));
        for n in 0..4 {
            outboxes.push(&key(&format!("S{n}")), write(1, 200));
        }
        assert!(outboxes.bytes() <= 1000, "{}", outboxes.bytes());
        assert_eq!(outboxes.take_overflow(), Some(0));
        assert_eq!(outboxes.take_overflow(), None);
        assert!(outboxes.dropped() > 0);
    }

    #[test]
    fn the_moment_up_to_which_all_was_acknowledged_is_known() {
        let mut outboxes = Outboxes::new(2, 1000, Sequence::new(1));
        outboxes.advance_time(10);
        outboxes.advance_time(20);
        assert_eq!(outboxes.acknowledged_until_ms(), 10);
        let StreamPosition { stream, sequence } = outboxes.push(&key("S1"), write(1, 10)).unwrap();
        for at in [30, 40, 50] {
            outboxes.advance_time(at); // what was pushed between 20 and 30 is not acknowledged
        }
        assert_eq!(outboxes.acknowledged_until_ms(), 20);
        outboxes.push(&key("big"), write(1, 2000));
        outboxes.advance_time(60);
        outboxes.advance_time(70);
        assert_eq!(outboxes.take_overflow(), Some(20));
        let outbox = outboxes.stream_mut(stream).unwrap();
        outbox.acknowledge(sequence);
        outboxes.advance_time(80);
        assert_eq!(
            outboxes.acknowledged_until_ms(),
            70,
            "what was dropped is waited for no longer"
        );
    }

    #[test]
    fn one_change_larger_than_the_bound_blocks_nothing() {
        let mut outboxes = Outboxes::new(1, 1000, Sequence::new(1));
        assert_eq!(outboxes.push(&key("big"), write(1, 2000)), None);
        assert!(outboxes.push(&key("small"), write(2, 10)).is_some());
        assert_eq!(
            outboxes
                .stream_mut(CONTROL)
                .unwrap()
                .batch(usize::MAX)
                .unwrap()
                .1
                .len(),
            1
        );
    }

    #[test]
    fn the_bound_is_shared_by_all_streams() {
        for streams in [1, 2, 16] {
            let mut outboxes = Outboxes::new(streams, 100_000, Sequence::new(1));
            for n in 0..2000 {
                outboxes.push(&key(&format!("S{n}")), write(1, 300));
                assert!(outboxes.bytes() <= 100_000, "{streams} streams");
            }
        }
    }

    #[test]
    fn a_session_keeps_its_stream_and_all_streams_are_used() {
        let mut outboxes = Outboxes::new(16, 1 << 20, Sequence::new(1));
        let mut used = BTreeSet::new();
        for n in 0..200 {
            let key = key(&format!("S{n}"));
            let first = outboxes.push(&key, write(1, 8)).unwrap().stream;
            outboxes.stream_mut(first).unwrap().batch(usize::MAX);
            let second = outboxes.push(&key, write(2, 8)).unwrap().stream;
            assert_eq!(first, second);
            used.insert(first);
        }
        assert_eq!(used.len(), 16);
    }
}
