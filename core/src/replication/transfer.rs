//! One state transfer, seen from the node that receives it.
//!
//! The receiver asks for one chunk at a time and says where to go on; the donor remembers nothing. So the
//! receiver's own speed is the flow control, a donor that disappears is replaced by any other at the same place,
//! and a donor serves any number of receivers without keeping state for them.

use std::time::Duration;

use super::digest::Buckets;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::PULL_TIMEOUT;

/// Where a transfer goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The first bucket not complete yet.
    pub bucket: usize,
    /// The last session of that bucket that was received.
    pub after: Option<SessionKey>,
}

/// One request for a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Numbers the request; its chunk carries the same.
    pub request: u64,
    /// Which buckets are wanted.
    pub buckets: Buckets,
    /// Where to begin.
    pub cursor: Cursor,
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    donor: NodeId,
    pull: Pull,
    deadline: Duration,
    received: usize,
}

impl Transfer {
    /// Begins to get `buckets` from `donor`.
    #[must_use]
    pub fn begin(donor: NodeId, request: u64, buckets: Buckets, now: Duration) -> (Self, Pull) {
        let pull = Pull {
            request,
            buckets,
            cursor: Cursor::default(),
        };
        (
            Self {
                donor,
                pull: pull.clone(),
                deadline: now + PULL_TIMEOUT,
                received: 0,
            },
            pull,
        )
    }

    /// Who is asked.
    #[must_use]
    pub const fn donor(&self) -> &NodeId {
        &self.donor
    }

    /// How many sessions have arrived.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.received
    }

    /// Whether a chunk from `donor` for `request` is the one that is waited for.
    #[must_use]
    pub fn expects(&self, donor: &NodeId, request: u64) -> bool {
        self.donor == *donor && self.pull.request == request
    }

    /// A chunk of `sessions` was applied and names where to go on. Returns the next request; `None` at the end.
    pub fn advance(&mut self, sessions: usize, next: Option<Cursor>, now: Duration) -> Option<Pull> {
        self.received += sessions;
        self.pull.cursor = next?;
        Some(self.again(now))
    }

    /// Asks another donor from the same place on.
    pub fn switch(&mut self, donor: NodeId, now: Duration) -> Pull {
        self.donor = donor;
        self.again(now)
    }

    fn again(&mut self, now: Duration) -> Pull {
        self.pull.request += 1;
        self.deadline = now + PULL_TIMEOUT;
        self.pull.clone()
    }

    /// Whether the donor has kept it waiting too long.
    #[must_use]
    pub fn is_stalled(&self, now: Duration) -> bool {
        now >= self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_donor_goes_on_where_the_first_stopped() {
        let node = |name| NodeId::parse(name).unwrap();
        let (mut transfer, first) = Transfer::begin(node("a"), 7, Buckets::ALL, Duration::ZERO);
        let place = Cursor {
            bucket: 12,
            after: Some(SessionKey::parse("default", "S9").unwrap()),
        };
        let second = transfer.advance(3, Some(place.clone()), Duration::ZERO).unwrap();
        assert_ne!(second.request, first.request);
        assert!(transfer.is_stalled(PULL_TIMEOUT));
        let third = transfer.switch(node("b"), PULL_TIMEOUT);
        assert_eq!(third.cursor, place);
        assert!(
            !transfer.expects(&node("a"), second.request),
            "a late chunk of the first donor"
        );
        assert!(transfer.expects(&node("b"), third.request));
        assert_eq!(transfer.advance(1, None, PULL_TIMEOUT), None);
        assert_eq!(transfer.received(), 4);
    }
}
