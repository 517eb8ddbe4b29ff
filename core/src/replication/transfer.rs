//! Getting parts of the table from other nodes, seen from the node that receives them.
//!
//! What is wanted is cut into ranges of buckets. Each range is asked of one donor, one chunk at a time, and the
//! receiver says where to go on; the donor remembers nothing of it. So the receiver's own speed is the flow control,
//! several donors send at the same time, and a donor that is lost, silent or busy is replaced at the same place.
//!
//! ```text
//! want ─► waiting ─► start ─► asked of a donor ─► chunk: go on, or done
//!            ▲                     │
//!            └── lost, silent, busy┘
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::digest::Buckets;
use crate::base::id::{BUCKETS, NodeId, SessionKey};
use crate::base::limits::{PULL_TIMEOUT, PULLS_PER_DONOR};

/// Into how many ranges a whole table is cut, so that several donors share the work however fast each is.
const RANGES: usize = 8;
/// How long a busy donor is left alone: this, and up to as much again, so that those who were sent away do not all
/// come back at once.
const REST: Duration = Duration::from_millis(100);

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

/// Who can send a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Any node that has the whole table.
    Any,
    /// This one: it is what it holds that is wanted.
    Only(NodeId),
}

impl Source {
    fn fits(&self, donor: &NodeId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(node) => node == donor,
        }
    }
}

/// A part of the table that is wanted, and how far it is here.
#[derive(Debug)]
struct Range {
    source: Source,
    buckets: Buckets,
    cursor: Cursor,
}

/// A range somebody was asked for.
#[derive(Debug)]
struct Asked {
    donor: NodeId,
    request: u64,
    deadline: Duration,
    range: Range,
}

/// Every range that is still wanted.
#[derive(Debug)]
pub struct Transfers {
    asked: Vec<Asked>,
    waiting: VecDeque<Range>,
    /// Donors that are left alone until then.
    resting: BTreeMap<NodeId, Duration>,
    next_request: u64,
    received: usize,
}

impl Transfers {
    /// Nothing is wanted. Requests are numbered from `seed` on, which is another for every run of a node.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            asked: Vec::new(),
            waiting: VecDeque::new(),
            resting: BTreeMap::new(),
            next_request: seed,
            received: 0,
        }
    }

    /// The whole table is wanted, from whoever has it.
    pub fn want_all(&mut self) {
        for range in 0..RANGES {
            let first = range * BUCKETS / RANGES;
            let buckets = Buckets::range(first, (range + 1) * BUCKETS / RANGES);
            self.want(Source::Any, buckets);
        }
    }

    /// These buckets are wanted. Those that are wanted of the same source already are not wanted twice.
    pub fn want(&mut self, source: Source, buckets: Buckets) {
        let known = self.ranges().filter(|range| range.source == source);
        let known = known.fold(Buckets::NONE, |all, range| all.union(&range.buckets));
        let buckets = buckets.without(&known);
        if buckets != Buckets::NONE {
            self.waiting.push_back(Range {
                source,
                buckets,
                cursor: Cursor::default(),
            });
        }
    }

    /// Asks donors for what nobody was asked for, the least burdened first. Returns what to say to whom.
    pub fn start(&mut self, donors: &[NodeId], now: Duration) -> Vec<(NodeId, Pull)> {
        self.resting.retain(|_, until| *until > now);
        let mut pulls = Vec::new();
        for _ in 0..self.waiting.len() {
            let Some(range) = self.waiting.pop_front() else {
                break;
            };
            let able = donors.iter().filter(|donor| {
                range.source.fits(donor)
                    && !self.resting.contains_key(*donor)
                    && self.burden(donor) < PULLS_PER_DONOR
            });
            let Some(donor) = able.min_by_key(|donor| self.burden(donor)) else {
                self.waiting.push_back(range);
                continue;
            };
            let mut asked = Asked {
                donor: donor.clone(),
                request: 0,
                deadline: now,
                range,
            };
            pulls.push((donor.clone(), self.ask(&mut asked, now)));
            self.asked.push(asked);
        }
        pulls
    }

    fn burden(&self, donor: &NodeId) -> usize {
        self.asked.iter().filter(|asked| asked.donor == *donor).count()
    }

    fn ask(&mut self, asked: &mut Asked, now: Duration) -> Pull {
        self.next_request += 1;
        asked.request = self.next_request;
        asked.deadline = now + PULL_TIMEOUT;
        Pull {
            request: asked.request,
            buckets: asked.range.buckets.clone(),
            cursor: asked.range.cursor.clone(),
        }
    }

    fn find(&self, donor: &NodeId, request: u64) -> Option<usize> {
        self.asked
            .iter()
            .position(|asked| asked.donor == *donor && asked.request == request)
    }

    /// Whether a chunk from `donor` for `request` is one that is waited for.
    #[must_use]
    pub fn expects(&self, donor: &NodeId, request: u64) -> bool {
        self.find(donor, request).is_some()
    }

    /// A chunk of `sessions` was applied and names where to go on. Returns the next request; `None` when the range
    /// is complete.
    pub fn advance(
        &mut self,
        donor: &NodeId,
        request: u64,
        sessions: usize,
        next: Option<Cursor>,
        now: Duration,
    ) -> Option<Pull> {
        let mut asked = self.asked.swap_remove(self.find(donor, request)?);
        self.received += sessions;
        asked.range.cursor = next?;
        let pull = self.ask(&mut asked, now);
        self.asked.push(asked);
        Some(pull)
    }

    /// `donor` has too much to do: others, or itself a little later, are asked for what it was asked for.
    pub fn busy(&mut self, donor: &NodeId, request: u64, now: Duration) {
        if let Some(index) = self.find(donor, request) {
            let asked = self.asked.swap_remove(index);
            self.waiting.push_back(asked.range);
            let jitter = REST.mul_f64(fraction(request));
            self.resting.insert(donor.clone(), now + REST + jitter);
        }
    }

    /// `donor` is gone: what it was asked for is asked of others. What only it could send is given up; returns
    /// whether there was such.
    pub fn lost(&mut self, donor: &NodeId) -> bool {
        self.resting.remove(donor);
        for asked in std::mem::take(&mut self.asked) {
            if asked.donor == *donor {
                self.waiting.push_back(asked.range);
            } else {
                self.asked.push(asked);
            }
        }
        let before = self.waiting.len();
        self.waiting
            .retain(|range| range.source == Source::Any || !range.source.fits(donor));
        self.waiting.len() < before
    }

    /// The donors that kept a request waiting too long. They count as lost, and are left alone for as long.
    pub fn take_silent(&mut self, now: Duration) -> BTreeSet<NodeId> {
        let late = self.asked.iter().filter(|asked| asked.deadline <= now);
        let silent: BTreeSet<_> = late.map(|asked| asked.donor.clone()).collect();
        for donor in &silent {
            self.lost(donor);
            self.resting.insert(donor.clone(), now + PULL_TIMEOUT);
        }
        silent
    }

    /// Nothing is wanted any more. Returns how many sessions have arrived since this was last called.
    pub fn clear(&mut self) -> usize {
        self.asked.clear();
        self.waiting.clear();
        self.resting.clear();
        std::mem::take(&mut self.received)
    }

    /// Whether everything wanted has arrived.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.asked.is_empty() && self.waiting.is_empty()
    }

    /// The buckets that are on their way.
    #[must_use]
    pub fn wanted(&self) -> Buckets {
        self.ranges()
            .fold(Buckets::NONE, |all, range| all.union(&range.buckets))
    }

    /// Who is asked.
    #[must_use]
    pub fn donors(&self) -> BTreeSet<&NodeId> {
        self.asked.iter().map(|asked| &asked.donor).collect()
    }

    /// How many sessions have arrived.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.received
    }

    fn ranges(&self) -> impl Iterator<Item = &Range> {
        let asked = self.asked.iter().map(|asked| &asked.range);
        asked.chain(&self.waiting)
    }
}

/// A fraction of one that looks random: the same for the same number, another for the next.
fn fraction(number: u64) -> f64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    f64::from(u16::try_from(mixed >> 48).unwrap_or(0)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn place(bucket: usize) -> Cursor {
        Cursor {
            bucket,
            after: Some(SessionKey::parse("default", "S9").unwrap()),
        }
    }

    #[test]
    fn several_donors_are_asked_for_ranges_that_do_not_overlap_and_make_the_whole() {
        let mut transfers = Transfers::new(7);
        transfers.want_all();
        assert_eq!(transfers.wanted(), Buckets::ALL);
        let donors = [node("a"), node("b"), node("c")];
        let (mut seen, mut count) = (Buckets::NONE, BTreeMap::<NodeId, usize>::new());
        while !transfers.is_complete() {
            let pulls = transfers.start(&donors, Duration::ZERO);
            assert!(!pulls.is_empty());
            for (donor, pull) in pulls {
                assert_eq!(pull.buckets.intersection(&seen), Buckets::NONE, "asked twice");
                seen = seen.union(&pull.buckets);
                *count.entry(donor.clone()).or_default() += 1;
                assert_eq!(
                    transfers.advance(&donor, pull.request, 1, None, Duration::ZERO),
                    None
                );
            }
        }
        assert_eq!(seen, Buckets::ALL);
        assert_eq!(count.len(), 3, "{count:?}");
        assert_eq!(transfers.clear(), 8);
    }

    #[test]
    fn another_donor_goes_on_where_the_first_stopped() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Any, Buckets::ALL);
        let (a, b) = (node("a"), node("b"));
        let (_, first) = transfers
            .start(std::slice::from_ref(&a), Duration::ZERO)
            .remove(0);
        let second = transfers
            .advance(&a, first.request, 3, Some(place(12)), Duration::ZERO)
            .unwrap();
        assert_ne!(second.request, first.request);
        assert!(!transfers.lost(&a));
        let (_, third) = transfers.start(std::slice::from_ref(&b), PULL_TIMEOUT).remove(0);
        assert_eq!(third.cursor, place(12));
        assert!(
            !transfers.expects(&a, second.request),
            "a late chunk of the first donor"
        );
        assert!(transfers.expects(&b, third.request));
        assert_eq!(transfers.advance(&b, third.request, 1, None, PULL_TIMEOUT), None);
        assert!(transfers.is_complete());
        assert_eq!(transfers.received(), 4);
    }

    #[test]
    fn a_silent_donor_is_left_alone_and_its_range_goes_to_another() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Any, Buckets::ALL);
        let (a, b) = (node("a"), node("b"));
        transfers.start(std::slice::from_ref(&a), Duration::ZERO);
        assert!(transfers.take_silent(PULL_TIMEOUT / 2).is_empty());
        assert_eq!(transfers.take_silent(PULL_TIMEOUT), BTreeSet::from([a.clone()]));
        let pulls = transfers.start(&[a, b.clone()], PULL_TIMEOUT);
        assert_eq!(pulls.into_iter().map(|(donor, _)| donor).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn a_busy_donor_is_asked_again_a_little_later() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Any, Buckets::ALL);
        let a = [node("a")];
        let (_, pull) = transfers.start(&a, Duration::ZERO).remove(0);
        transfers.busy(&a[0], pull.request, Duration::ZERO);
        assert_eq!(transfers.start(&a, REST), []);
        assert_eq!(transfers.start(&a, REST * 2).len(), 1);
    }

    #[test]
    fn what_only_the_lost_donor_had_is_given_up() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Only(node("a")), Buckets::range(0, 9));
        transfers.want(Source::Only(node("b")), Buckets::range(0, 9));
        assert_eq!(transfers.start(&[node("a")], Duration::ZERO).len(), 1);
        assert!(transfers.lost(&node("a")));
        assert!(!transfers.is_complete());
        assert!(transfers.lost(&node("b")));
        assert!(transfers.is_complete());
    }

    #[test]
    fn jitter_is_a_fraction() {
        let fractions: Vec<_> = (0..1000).map(|n| fraction(n << 7)).collect();
        assert!(fractions.iter().all(|f| (0.0..=1.0).contains(f)));
        assert!(fractions.iter().any(|f| *f > 0.7) && fractions.iter().any(|f| *f < 0.3));
    }
}
