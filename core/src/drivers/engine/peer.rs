//! One other node as a place to send to: its links, what waits for it, and what was heard of it. What happens on links
//! is in [`super::peers`].

use std::collections::VecDeque;
use std::time::Duration;

use super::repair::Comparison;
use crate::replication::acks::Standing;
use crate::replication::lanes::{CONTROL, Lane, Outboxes, Place};
use crate::replication::message::Message;
use crate::replication::outbox::Slot;
use crate::replication::transfer::Pull;

/// What was heard of a node on one lane, and is to be acknowledged to it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// When anything was.
    pub(super) at: Duration,
    pub(super) on: u64,
    pub(super) slot: Slot,
    pub(super) refused: Slot,
    /// Whether it is to be told what was received.
    pub(super) ack_due: bool,
}

impl Heard {
    /// What its sender is to be told of the lane, if it was not told yet.
    pub(super) fn take_ack(&mut self, lane: Lane) -> Option<Message> {
        let (slot, refused) = (self.slot, self.refused);
        std::mem::take(&mut self.ack_due).then_some(Message::Ack { lane, slot, refused })
    }
}

/// One link to a peer, as this node speaks on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) up: bool,
    /// Up to this slot of the lane the peer refused something.
    pub(super) refused: Slot,
}

/// One other node, as a place to send to.
#[derive(Debug)]
pub struct Peer {
    /// One per lane.
    pub(super) links: Vec<Link>,
    /// Whether it has told what it is since its link came up.
    pub(super) announced: bool,
    pub(super) control: VecDeque<Message>,
    /// The chunks it asked for.
    pub(super) wanted: VecDeque<Pull>,
    pub(super) outboxes: Outboxes,
    /// How its table compares with this node's.
    pub(super) comparison: Comparison,
}

impl Peer {
    pub(super) fn new(lanes: usize, queue_bytes: usize, first: Slot) -> Self {
        Self {
            links: vec![Link::default(); lanes],
            announced: false,
            control: VecDeque::new(),
            wanted: VecDeque::new(),
            outboxes: Outboxes::new(lanes, queue_bytes, first),
            comparison: Comparison::default(),
        }
    }

    /// Whether the link to it is up: that of lane 0.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.is_up(CONTROL)
    }

    /// Whether the link of `lane` is up.
    #[must_use]
    pub fn is_up(&self, lane: Lane) -> bool {
        self.links.get(usize::from(lane)).is_some_and(|link| link.up)
    }

    /// The lane chunks go on: the last that is up, so that they keep control messages waiting as little as can be.
    pub(super) fn chunk_lane(&self) -> Lane {
        let last = self.links.iter().rposition(|link| link.up).unwrap_or(0);
        Lane::try_from(last).unwrap_or(CONTROL)
    }

    /// Whether anything waits to be sent to it.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.control.is_empty() || !self.wanted.is_empty() || self.outboxes.has_waiting()
    }

    /// How the change at `place` stands with it.
    pub(super) fn standing(&self, (lane, slot): Place) -> Standing {
        let (Some(outbox), Some(link)) = (self.outboxes.lane(lane), self.links.get(usize::from(lane))) else {
            return Standing::Lost;
        };
        if slot < outbox.floor() || slot <= link.refused {
            Standing::Lost
        } else if slot <= outbox.acked() {
            Standing::Held
        } else {
            Standing::Pending
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
