//! The position of a change on its way to one peer: which stream carries it, and its number in that stream's outbox.
//!
//! The two numbers travel together through outboxes, acknowledgements and waits, and are types of their own so that
//! one is never taken for the other. On the wire they are plain integers ([`super::message`]).

use std::fmt;

/// One of the connections to a peer, numbered from 0.
///
/// Stream 0 ([`super::streams::CONTROL`]) also carries control messages, and a peer counts as linked while it is up.
/// The last stream that is up carries chunks of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId(u8);

impl StreamId {
    /// The stream with this number. A number past the last stream of a peer names none of its outboxes.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The stream at this index of a list; a number that no list has, where the index does not fit.
    #[must_use]
    pub fn at_index(index: usize) -> Self {
        Self(u8::try_from(index).unwrap_or(u8::MAX))
    }

    /// The first `count` streams, in order.
    pub fn first(count: usize) -> impl DoubleEndedIterator<Item = Self> {
        let end = u8::try_from(count).unwrap_or(u8::MAX);
        (0..end).map(Self)
    }

    /// Its number, as it is sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its index in a list with one entry per stream.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a change in one outbox. Rises over the whole life of a node, so an old acknowledgement never names
/// a new change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(u64);

impl Sequence {
    /// Before every change.
    pub const ZERO: Self = Self(0);
    /// After every change.
    pub const MAX: Self = Self(u64::MAX);

    /// The sequence with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The first sequence of an outbox that is created at `wall_ms` (milliseconds since 1970): later than every
    /// sequence of an earlier outbox for the same peer, with room for four million changes per millisecond.
    #[must_use]
    pub const fn first_at(wall_ms: u64) -> Self {
        Self(wall_ms << 22)
    }

    /// Its number, as it is sent.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after this; the last one is followed by itself.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before this; [`Self::ZERO`] is preceded by itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many sequences lie between `earlier` and this one; `None` when `earlier` is the later of the two.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(earlier.0)?).ok()
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of one change: its stream, and its sequence in that stream's outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamPosition {
    /// The stream.
    pub stream: StreamId,
    /// The sequence.
    pub sequence: Sequence,
}

impl StreamPosition {
    /// The position `sequence` of `stream`.
    #[must_use]
    pub const fn new(stream: StreamId, sequence: Sequence) -> Self {
        Self { stream, sequence }
    }
}

/// Where one or several changes lie in one stream's outbox: all of them between two sequences, which are theirs.
///
/// Acknowledgements are cumulative, so the last sequence acknowledges all. A loss is not: whatever is lost from the first
/// on may be one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamRange {
    /// The stream.
    pub stream: StreamId,
    /// The sequence of the first change.
    pub first: Sequence,
    /// The sequence of the last change.
    pub last: Sequence,
}

impl StreamRange {
    /// This range and `other`, of the same stream, as one.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            stream: self.stream,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

impl From<StreamPosition> for StreamRange {
    fn from(StreamPosition { stream, sequence }: StreamPosition) -> Self {
        Self {
            stream,
            first: sequence,
            last: sequence,
        }
    }
}
