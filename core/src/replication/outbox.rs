//! The outbox of one stream to a peer: the changes that the peer has not acknowledged, in order.
//!
//! A change takes a [`Sequence`]; changes are sent in rising order. A change of a session whose last one has not been
//! sent is joined into that, so a slow peer costs one entry per session, not one per change. What was sent stays until
//! it is acknowledged and is sent again after a reconnect; joining a change twice does nothing.
//!
//! The bound of bytes, which all streams to a peer share, is in [`super::streams`].

use super::position::Sequence;
use crate::base::by_session::BySession;
use crate::base::id::SessionKey;
use crate::base::limits::RECORD_BYTES_MAX;
use crate::base::queue::Queue;
use crate::session::Record;

#[derive(Debug)]
struct Pending {
    sequence: Sequence,
    key: SessionKey,
    delta: Record,
    size: usize,
}

/// About how many bytes of memory a change takes.
pub(super) fn size(key: &SessionKey, delta: &Record) -> usize {
    delta.size() + key.id_len()
}

/// About how many bytes a change takes on the wire: its contents, and stamps and lengths.
fn encoded_size(pending: &Pending) -> usize {
    pending.key.id_len() + pending.delta.content_bytes() + 32
}

/// Changes that were dropped, whose memory is still to be freed. That takes as long as they are many.
#[derive(Debug, Default)]
pub struct Dropped {
    pending: Queue<Pending>,
    /// Only to be freed.
    _by_key: BySession<Sequence>,
}

impl Dropped {
    /// How many changes they are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// See the module page.
#[derive(Debug)]
pub struct Outbox {
    /// First what was sent and not acknowledged, then what waits. Sequences have no gaps.
    pending: Queue<Pending>,
    /// How many of them were sent.
    sent: usize,
    /// The sequence of each session's change that was never sent; of several, the last one.
    by_key: BySession<Sequence>,
    next: Sequence,
    acked: Sequence,
    /// Changes below it were dropped.
    floor: Sequence,
    bytes: usize,
}

impl Outbox {
    /// An empty outbox whose first change takes `first`.
    #[must_use]
    pub fn new(first: Sequence) -> Self {
        Self {
            pending: Queue::default(),
            sent: 0,
            by_key: BySession::default(),
            next: first,
            acked: Sequence::ZERO,
            floor: first,
            bytes: 0,
        }
    }

    /// Adds a change; returns the sequence whose acknowledgement means that the peer has it. A change larger than
    /// [`RECORD_BYTES_MAX`] takes several, of which that is the last.
    pub fn push(&mut self, key: &SessionKey, delta: Record) -> Sequence {
        let bytes = size(key, &delta);
        if let Some(sequence) = self.join(key, &delta, bytes) {
            return sequence;
        }
        if bytes <= RECORD_BYTES_MAX {
            return self.append(key, delta, bytes);
        }
        let mut last = self.next;
        for fragment in delta.split(RECORD_BYTES_MAX) {
            let bytes = size(key, &fragment);
            last = self.append(key, fragment, bytes);
        }
        last
    }

    fn append(&mut self, key: &SessionKey, delta: Record, size: usize) -> Sequence {
        let sequence = self.next;
        self.next = self.next.next();
        self.bytes += size;
        self.by_key.insert(key.clone(), sequence);
        self.pending.push_back(Pending {
            sequence,
            key: key.clone(),
            delta,
            size,
        });
        sequence
    }

    /// Joins a change of `bytes` bytes into one of the same session that has not been sent, unless that would become
    /// too large to be sent in one piece.
    fn join(&mut self, key: &SessionKey, delta: &Record, bytes: usize) -> Option<Sequence> {
        let sequence = self.by_key.get(key).copied()?;
        let first = self.pending.front()?.sequence;
        let pending = self.pending.get_mut(sequence.since(first)?)?;
        if pending.size + bytes > RECORD_BYTES_MAX {
            return None;
        }
        if !delta.lifecycle.is_empty() && pending.delta.loses_by(delta) {
            return None;
        }
        pending.delta.join(delta);
        let size = size(key, &pending.delta);
        self.bytes = self.bytes + size - pending.size;
        pending.size = size;
        Some(sequence)
    }

    /// Drops everything that was not acknowledged, and returns it.
    pub fn drop_all(&mut self) -> Dropped {
        let dropped = Dropped {
            pending: std::mem::take(&mut self.pending),
            _by_key: std::mem::take(&mut self.by_key),
        };
        self.sent = 0;
        self.bytes = 0;
        self.floor = self.next;
        dropped
    }

    /// The next batch, of about `bytes` bytes on the wire, in order, and the sequence that acknowledges it. It counts as
    /// sent.
    pub fn batch(
        &mut self,
        bytes: usize,
    ) -> Option<(Sequence, impl ExactSizeIterator<Item = (&SessionKey, &Record)>)> {
        let (first, mut taken) = (self.sent, 0);
        for pending in self.pending.range(first, usize::MAX) {
            if taken >= bytes {
                break;
            }
            taken += encoded_size(pending);
            self.sent += 1;
        }
        for pending in self.pending.range(first, self.sent) {
            self.by_key.remove(&pending.key);
        }
        let batch = self.pending.range(first, self.sent);
        let last = batch.clone().next_back()?.sequence;
        Some((last, batch.map(|pending| (&pending.key, &pending.delta))))
    }

    /// The peer has received everything up to `sequence`. One that it cannot know is ignored.
    pub fn acknowledge(&mut self, sequence: Sequence) {
        if sequence >= self.next || sequence < self.floor {
            return;
        }
        self.acked = self.acked.max(sequence);
        while self.sent > 0
            && let Some(pending) = self.pending.pop_front_if(|pending| pending.sequence <= sequence)
        {
            self.sent -= 1;
            self.bytes -= pending.size;
        }
    }

    /// The link is new: what was not acknowledged is sent again, before anything else. Nothing more is joined into it,
    /// because the acknowledgement of its first sending may still arrive.
    pub const fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Whether nothing below `next` waits for its acknowledgement.
    #[must_use]
    pub fn is_acknowledged_below(&self, next: Sequence) -> bool {
        self.pending.front().is_none_or(|oldest| oldest.sequence >= next)
    }

    /// Changes below this sequence were dropped; no acknowledgement counts for them.
    #[must_use]
    pub const fn floor(&self) -> Sequence {
        self.floor
    }

    /// Everything from the floor up to this sequence was received.
    #[must_use]
    pub const fn acked(&self) -> Sequence {
        self.acked
    }

    /// Whether something waits to be sent.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// Bytes that wait or were not acknowledged.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many changes wait or were not acknowledged, and their bytes, counted anew.
    #[must_use]
    pub fn recount(&self) -> (usize, usize) {
        self.pending.iter().fold((0, 0), |(count, bytes), pending| {
            (count + 1, bytes + size(&pending.key, &pending.delta))
        })
    }

    /// The sequence that the next change takes.
    #[must_use]
    pub const fn next(&self) -> Sequence {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Attributes, Register, Stamp, Touch};

    fn key(id: &str) -> SessionKey {
        SessionKey::parse("default", id).unwrap()
    }

    fn batch(outbox: &mut Outbox, bytes: usize) -> Option<(Sequence, Vec<(SessionKey, Record)>)> {
        let (sequence, batch) = outbox.batch(bytes)?;
        let owned = batch.map(|(key, delta)| (key.clone(), delta.clone()));
        Some((sequence, owned.collect()))
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
            ..Record::touch_only(Touch {
                life: stamp,
                at_ms: 0,
            })
        }
    }

    #[test]
    fn changes_of_one_session_share_a_sequence_until_it_is_sent() {
        let mut outbox = Outbox::new(Sequence::new(1));
        let first = outbox.push(&key("S1"), write(1, 8));
        assert_eq!(outbox.push(&key("S1"), write(2, 8)), first);
        assert_eq!(
            batch(&mut outbox, usize::MAX).unwrap().1,
            [(key("S1"), write(2, 8))]
        );
        assert_ne!(outbox.push(&key("S1"), write(3, 8)), first);
    }

    #[test]
    fn what_was_not_acknowledged_is_sent_again_in_order() {
        let mut outbox = Outbox::new(Sequence::new(1));
        outbox.push(&key("S1"), write(1, 8));
        outbox.push(&key("S2"), write(2, 8));
        let (sequence, _) = batch(&mut outbox, 1).unwrap();
        batch(&mut outbox, 1).unwrap();
        outbox.push(&key("S2"), write(3, 8));
        outbox.acknowledge(sequence);
        outbox.rewind();
        outbox.push(&key("S2"), write(4, 8));
        let (_, batch) = batch(&mut outbox, usize::MAX).unwrap();
        assert_eq!(batch, [(key("S2"), write(2, 8)), (key("S2"), write(4, 8))]);
    }

    #[test]
    fn a_late_acknowledgement_does_not_count_for_a_later_change() {
        let mut outbox = Outbox::new(Sequence::new(1));
        let first = outbox.push(&key("S1"), write(1, 8));
        batch(&mut outbox, usize::MAX).unwrap();
        outbox.rewind();
        let second = outbox.push(&key("S1"), write(2, 8));
        outbox.acknowledge(first);
        assert!(second > outbox.acked(), "it was not even sent");
        let (_, batch) = batch(&mut outbox, usize::MAX).unwrap();
        assert_eq!(batch.last(), Some(&(key("S1"), write(2, 8))));
    }

    #[test]
    fn an_acknowledgement_of_a_sequence_never_given_is_ignored() {
        let mut outbox = Outbox::new(Sequence::new(1));
        outbox.push(&key("S1"), write(1, 8));
        outbox.acknowledge(Sequence::new(99));
        assert_eq!(outbox.acked(), Sequence::ZERO);
    }

    #[test]
    fn an_acknowledgement_of_what_was_dropped_is_ignored() {
        let mut outbox = Outbox::new(Sequence::new(1));
        let sequence = outbox.push(&key("S1"), write(1, 8));
        batch(&mut outbox, usize::MAX).unwrap();
        assert_eq!(outbox.drop_all().len(), 1);
        outbox.acknowledge(sequence);
        assert!(outbox.acked() < outbox.floor() && sequence < outbox.floor());
    }

    #[test]
    fn a_batch_fits_into_a_frame_however_large_the_session() {
        let mut outbox = Outbox::new(Sequence::new(1));
        let attribute = |n: usize| {
            let register = write(1, 1 << 20).attributes.registers().next().cloned();
            (format!("a{n}").into(), register.unwrap())
        };
        let large = Record {
            attributes: (0..20).map(attribute).collect(),
            ..write(1, 8)
        };
        outbox.push(&key("S1"), large.clone());
        let last = outbox.push(&key("S1"), large.clone());
        let (mut received, mut acknowledged) = (Record::default(), Sequence::ZERO);
        while let Some((sequence, changes)) = batch(&mut outbox, 256 << 10) {
            let bytes: usize = changes.iter().map(|(key, delta)| size(key, delta)).sum();
            assert!(
                bytes <= RECORD_BYTES_MAX + (512 << 10),
                "{bytes} bytes in a batch"
            );
            for (_, delta) in &changes {
                received.join(delta);
            }
            acknowledged = sequence;
        }
        assert_eq!(acknowledged, last);
        assert_eq!(received.attributes, large.attributes);
    }

    #[test]
    fn bytes_return_to_zero_when_everything_is_acknowledged() {
        let mut outbox = Outbox::new(Sequence::new(1));
        for n in 0..100 {
            outbox.push(&key(&format!("S{}", n % 7)), write(n, n as usize));
            if n % 13 == 0 {
                outbox.batch(50);
            }
            if n % 17 == 0 {
                outbox.rewind();
            }
        }
        while let Some((sequence, _)) = batch(&mut outbox, 300) {
            outbox.acknowledge(sequence);
        }
        assert_eq!(outbox.bytes(), 0);
    }
}
