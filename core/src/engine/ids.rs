//! Numbers this node hands out, none of them twice, not even after it has started over.

use crate::replication::position::Sequence;

/// See the module page.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Ids {
    request: u64,
    link: u64,
    /// No sequence below was given to a peer that is forgotten.
    sequence: Sequence,
}

impl Ids {
    /// Requests are numbered from `seed` on, which is another for every incarnation.
    pub(in crate::engine) const fn new(seed: u64) -> Self {
        Self {
            request: seed | 1,
            link: 0,
            sequence: Sequence::ZERO,
        }
    }

    /// Numbers a request to a peer, or a fetch.
    pub(in crate::engine) const fn next_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    /// Numbers a link another node has made to this one; later links have greater numbers.
    pub(in crate::engine) const fn next_link(&mut self) -> u64 {
        self.link += 1;
        self.link
    }

    /// The first sequence for a new peer, at least `least`.
    pub(in crate::engine) fn first_sequence(&self, least: Sequence) -> Sequence {
        self.sequence.max(least)
    }

    /// A peer is forgotten whose next sequence would have been `next`: none below is ever given again.
    pub(in crate::engine) fn retire_sequences(&mut self, next: Sequence) {
        self.sequence = self.sequence.max(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let mut ids = Ids::new(7);
        assert!(ids.next_request() < ids.next_request());
        assert!(ids.next_link() < ids.next_link());
        let [low, middle, high] = [5, 9, 10].map(Sequence::new);
        assert_eq!(ids.first_sequence(low), low);
        ids.retire_sequences(middle);
        ids.retire_sequences(low);
        assert_eq!(ids.first_sequence(low), middle);
        assert_eq!(ids.first_sequence(high), high);
    }
}
