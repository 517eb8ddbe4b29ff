//! A peer: one other node as a place to send to, with its links, its outboxes and what was received from it.
//!
//! What happens when links come and go and messages arrive is in [`crate::engine::peers`].

use std::collections::VecDeque;

use crate::engine::peers::repair::Comparison;
use crate::replication::acks::DeliveryStatus;
use crate::replication::message::Message;
use crate::replication::position::{Sequence, StreamId, StreamRange};
use crate::replication::streams::{CONTROL, Outboxes};
use crate::replication::transfer::Pull;

/// What was received from a node on one stream, and is to be acknowledged.
#[derive(Debug, Default)]
pub(in crate::engine) struct Inbound {
    pub(in crate::engine) on: u64,
    pub(in crate::engine) sequence: Sequence,
    pub(in crate::engine) refused: Sequence,
    /// Whether an acknowledgement is due.
    pub(in crate::engine) ack_due: bool,
}

impl Inbound {
    /// The acknowledgement of the stream, if one is due.
    pub(in crate::engine) fn take_ack(&mut self, stream: StreamId) -> Option<Message> {
        let (sequence, refused) = (self.sequence, self.refused);
        std::mem::take(&mut self.ack_due).then_some(Message::Ack {
            stream,
            sequence,
            refused,
        })
    }
}

/// One link to a peer, on which this node sends.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Link {
    pub(in crate::engine) up: bool,
    /// Up to this sequence the peer refused something.
    pub(in crate::engine) refused: Sequence,
}

/// One other node, as a place to send to.
#[derive(Debug)]
pub struct Peer {
    /// One per stream.
    pub(in crate::engine) links: Vec<Link>,
    /// Whether it has announced itself since its link came up.
    pub(in crate::engine) announced: bool,
    pub(in crate::engine) control: VecDeque<Message>,
    /// The chunks it asked for.
    pub(in crate::engine) wanted: VecDeque<Pull>,
    pub(in crate::engine) outboxes: Outboxes,
    /// How its table compares with this node's.
    pub(in crate::engine) comparison: Comparison,
}

impl Peer {
    pub(in crate::engine) fn new(streams: usize, queue_bytes: usize, first: Sequence) -> Self {
        Self {
            links: vec![Link::default(); streams],
            announced: false,
            control: VecDeque::new(),
            wanted: VecDeque::new(),
            outboxes: Outboxes::new(streams, queue_bytes, first),
            comparison: Comparison::default(),
        }
    }

    /// Whether the link to it is up: that of stream 0.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.is_up(CONTROL)
    }

    /// Whether the link of `stream` is up.
    #[must_use]
    pub fn is_up(&self, stream: StreamId) -> bool {
        self.links.get(stream.index()).is_some_and(|link| link.up)
    }

    /// The stream chunks go on: the last that is up, so that they keep control messages waiting as little as can be.
    pub(in crate::engine) fn chunk_stream(&self) -> StreamId {
        let last = self.links.iter().rposition(|link| link.up).unwrap_or(0);
        StreamId::at_index(last)
    }

    /// Whether anything waits to be sent to it.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.control.is_empty() || !self.wanted.is_empty() || self.outboxes.has_waiting()
    }

    /// How the changes of a range stand with it.
    pub(in crate::engine) fn delivery_status(&self, range: StreamRange) -> DeliveryStatus {
        let StreamRange { stream, first, last } = range;
        let (Some(outbox), Some(link)) = (self.outboxes.stream(stream), self.links.get(stream.index()))
        else {
            return DeliveryStatus::Lost;
        };
        if first < outbox.floor() || first <= link.refused {
            DeliveryStatus::Lost
        } else if last <= outbox.acked() {
            DeliveryStatus::Held
        } else {
            DeliveryStatus::Pending
        }
    }

    /// How many repairs were begun because its table differed.
    #[must_use]
    pub const fn repairs(&self) -> u64 {
        self.comparison.repairs
    }

    /// How many sessions were found different in the last of them; 0 once tables are equal.
    #[must_use]
    pub const fn mismatched_sessions(&self) -> u64 {
        self.comparison.mismatched_sessions
    }

    /// What it still has to be told.
    #[must_use]
    pub const fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }
}
