//! Getting parts of the table from other nodes, seen from the node that receives them.
//!
//! What is wanted is cut into ranges of buckets. Each range is asked of one donor, one chunk at a time, and the
//! receiver says where to go on; the donor remembers nothing of it. So the receiver's own speed is the flow control,
//! several donors send at the same time, and a donor that is lost, silent or busy is replaced at the same place.
//!
//! ```text
//! want ─► start: asked of a donor ─► chunk: go on, or done
//!           ▲              │
//!           └─ lost, silent, busy
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::digest::Buckets;
use crate::base::id::{BUCKETS, NodeId, SessionKey};
use crate::base::limits::{CHUNK_BYTES, PULL_TIMEOUT, PULLS_PER_DONOR};

/// Into how many ranges a whole table is cut, so that several donors share the work however fast each is.
const RANGES: usize = 8;
/// How many donors one range is asked of at most, at the same place, before one of them has answered.
const ASKED_MAX: usize = 4;
/// After how long an answer will not come any more.
const NEVER: Duration = Duration::from_secs(20);
/// How large the first chunk of a range may be, in bytes. Quick answers make the next larger, slow ones smaller, so
/// that even over a slow link each arrives in time.
const CHUNK_FIRST: usize = 64 << 10;
const CHUNK_LEAST: usize = 16 << 10;
/// What is a quick answer, and what is a slow one.
const QUICK: Duration = Duration::from_millis(250);
const SLOW: Duration = Duration::from_secs(1);
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
    /// About how many bytes the chunk may have.
    pub bytes: usize,
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
    /// About how many bytes to ask for next.
    bytes: usize,
    /// Who was asked for what comes at the cursor, and has not answered. Usually one.
    asked: Vec<Asked>,
}

/// A request nobody has answered yet.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    donor: NodeId,
    request: u64,
    since: Duration,
    /// Whether another donor may be asked as well.
    late: bool,
}

/// Every range that is still wanted.
#[derive(Debug)]
pub struct Transfers {
    ranges: Vec<Range>,
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
            ranges: Vec::new(),
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
        let known = self.ranges.iter().filter(|range| range.source == source);
        let known = known.fold(Buckets::NONE, |all, range| all.union(&range.buckets));
        let buckets = buckets.without(&known);
        if buckets != Buckets::NONE {
            self.ranges.push(Range {
                source,
                buckets,
                cursor: Cursor::default(),
                bytes: CHUNK_FIRST,
                asked: Vec::new(),
            });
        }
    }

    /// Asks donors for what nobody was asked for, or was and is late; the least burdened first. Returns what to say to
    /// whom.
    pub fn start(&mut self, donors: &[NodeId], now: Duration) -> Vec<(NodeId, Pull)> {
        self.resting.retain(|_, until| *until > now);
        let mut burdens: BTreeMap<&NodeId, usize> = donors.iter().map(|donor| (donor, 0)).collect();
        for asked in self.ranges.iter().flat_map(|range| &range.asked) {
            burdens.entry(&asked.donor).and_modify(|burden| *burden += 1);
        }
        let mut burdens: Vec<(NodeId, usize)> = burdens.into_iter().map(|(d, n)| (d.clone(), n)).collect();
        let (next_request, resting) = (&mut self.next_request, &self.resting);
        let mut pulls = Vec::new();
        for range in &mut self.ranges {
            if range.asked.len() >= ASKED_MAX || range.asked.iter().any(|asked| !asked.late) {
                continue;
            }
            let able = burdens.iter_mut().filter(|(donor, burden)| {
                range.source.fits(donor)
                    && !resting.contains_key(donor)
                    && *burden < PULLS_PER_DONOR
                    && range.asked.iter().all(|asked| asked.donor != *donor)
            });
            if let Some((donor, burden)) = able.min_by_key(|(_, burden)| *burden) {
                *burden += 1;
                pulls.push((donor.clone(), range.ask(donor, next_request, now)));
            }
        }
        pulls
    }

    fn find(&self, donor: &NodeId, request: u64) -> Option<usize> {
        let is_it = |asked: &Asked| asked.donor == *donor && asked.request == request;
        self.ranges.iter().position(|range| range.asked.iter().any(is_it))
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
        let index = self.find(donor, request)?;
        self.received += sessions;
        let range = self.ranges.get_mut(index)?;
        let answered = std::mem::take(&mut range.asked).into_iter();
        let took = answered
            .filter(|asked| asked.request == request)
            .map(|asked| now.saturating_sub(asked.since))
            .next();
        match took {
            Some(took) if took <= QUICK => range.bytes = (range.bytes * 2).min(CHUNK_BYTES),
            Some(took) if took > SLOW => range.bytes = (range.bytes / 4).max(CHUNK_LEAST),
            _ => {}
        }
        let Some(next) = next else {
            self.ranges.swap_remove(index);
            return None;
        };
        range.cursor = next;
        Some(range.ask(donor, &mut self.next_request, now))
    }

    /// `donor` has too much to do: others, or itself a little later, are asked for what it was asked for.
    pub fn busy(&mut self, donor: &NodeId, request: u64, now: Duration) {
        let Some(range) = self
            .find(donor, request)
            .and_then(|index| self.ranges.get_mut(index))
        else {
            return;
        };
        range.asked.retain(|asked| asked.request != request);
        let jitter = REST.mul_f64(fraction(request));
        self.resting.insert(donor.clone(), now + REST + jitter);
    }

    /// `donor` is gone: what it was asked for is asked of others. What only it could send is given up; returns
    /// whether there was such.
    pub fn lost(&mut self, donor: &NodeId) -> bool {
        self.resting.remove(donor);
        for range in &mut self.ranges {
            range.asked.retain(|asked| asked.donor != *donor);
        }
        let before = self.ranges.len();
        self.ranges
            .retain(|range| range.source == Source::Any || !range.source.fits(donor));
        self.ranges.len() < before
    }

    /// A link to or from `donor` is new: a request, or its answer, may have been lost with the one before.
    pub fn ask_again(&mut self, donor: &NodeId) {
        for range in &mut self.ranges {
            range.asked.retain(|asked| asked.donor != *donor);
        }
    }

    /// The donors that keep a request waiting too long: others may be asked as well. Should a late one answer first
    /// after all, its answer is as good; should it never, it may be asked once more.
    pub fn take_silent(&mut self, now: Duration) -> BTreeSet<NodeId> {
        let mut silent = BTreeSet::new();
        for range in &mut self.ranges {
            range.asked.retain(|asked| asked.since + NEVER > now);
            for asked in &mut range.asked {
                if !asked.late && asked.since + PULL_TIMEOUT <= now {
                    asked.late = true;
                    range.bytes = CHUNK_LEAST;
                    silent.insert(asked.donor.clone());
                }
            }
        }
        silent
    }

    /// Nothing is wanted any more. Returns how many sessions have arrived since this was last called.
    pub fn clear(&mut self) -> usize {
        self.ranges.clear();
        self.resting.clear();
        std::mem::take(&mut self.received)
    }

    /// Whether everything wanted has arrived.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The buckets that are on their way.
    #[must_use]
    pub fn wanted(&self) -> Buckets {
        let ranges = self.ranges.iter();
        ranges.fold(Buckets::NONE, |all, range| all.union(&range.buckets))
    }

    /// Who is asked.
    #[must_use]
    pub fn donors(&self) -> BTreeSet<&NodeId> {
        let asked = self.ranges.iter().flat_map(|range| &range.asked);
        asked.map(|asked| &asked.donor).collect()
    }

    /// Who something is wanted from that only they can send.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&NodeId> {
        let only = self.ranges.iter().filter_map(|range| match &range.source {
            Source::Only(node) => Some(node),
            Source::Any => None,
        });
        only.collect()
    }

    /// How many sessions have arrived.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.received
    }
}

impl Range {
    fn ask(&mut self, donor: &NodeId, next_request: &mut u64, now: Duration) -> Pull {
        *next_request += 1;
        self.asked.push(Asked {
            donor: donor.clone(),
            request: *next_request,
            since: now,
            late: false,
        });
        Pull {
            request: *next_request,
            buckets: self.buckets.clone(),
            cursor: self.cursor.clone(),
            bytes: self.bytes,
        }
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
    fn an_answer_that_was_lost_with_its_link_is_asked_for_again() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Only(node("a")), Buckets::ALL);
        let donors = [node("a")];
        let (_, first) = transfers.start(&donors, Duration::ZERO).remove(0);
        assert!(transfers.start(&donors, Duration::ZERO).is_empty());
        transfers.ask_again(&donors[0]);
        let (_, second) = transfers.start(&donors, Duration::ZERO).remove(0);
        assert_eq!((&second.cursor, &second.buckets), (&first.cursor, &first.buckets));
        transfers.take_silent(PULL_TIMEOUT);
        assert!(
            transfers.start(&donors, PULL_TIMEOUT).is_empty(),
            "it may still come"
        );
        transfers.take_silent(NEVER);
        assert_eq!(transfers.start(&donors, NEVER).len(), 1);
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
    fn another_is_asked_beside_a_silent_donor_and_whoever_answers_first_is_heard() {
        for first in 0..2 {
            let mut transfers = Transfers::new(7);
            transfers.want(Source::Any, Buckets::ALL);
            let donors = [node("a"), node("b")];
            let (_, early) = transfers.start(&donors[..1], Duration::ZERO).remove(0);
            assert!(transfers.take_silent(PULL_TIMEOUT / 2).is_empty());
            assert_eq!(
                transfers.take_silent(PULL_TIMEOUT),
                BTreeSet::from([donors[0].clone()])
            );
            let (donor, late) = transfers.start(&donors, PULL_TIMEOUT).remove(0);
            assert_eq!((donor, &late.cursor), (donors[1].clone(), &early.cursor));
            let requests = [early.request, late.request];
            let (answers, other) = (first, 1 - first);
            let pull = transfers
                .advance(
                    &donors[answers],
                    requests[answers],
                    1,
                    Some(place(3)),
                    PULL_TIMEOUT,
                )
                .unwrap();
            assert_eq!(pull.cursor, place(3));
            assert!(
                !transfers.expects(&donors[other], requests[other]),
                "the same sessions again"
            );
        }
    }

    #[test]
    fn a_slow_and_only_donor_is_waited_for_and_asked_for_less() {
        let mut transfers = Transfers::new(7);
        transfers.want(Source::Any, Buckets::ALL);
        let a = [node("a")];
        let (_, mut pull) = transfers.start(&a, Duration::ZERO).remove(0);
        let mut now = Duration::ZERO;
        for bucket in 1..9 {
            now += PULL_TIMEOUT * 2;
            transfers.take_silent(now);
            assert_eq!(transfers.start(&a, now), [], "not the same again");
            assert!(transfers.expects(&a[0], pull.request), "however late");
            pull = transfers
                .advance(&a[0], pull.request, 1, Some(place(bucket)), now)
                .unwrap();
        }
        assert_eq!(pull.bytes, CHUNK_LEAST);
        for bucket in 9..19 {
            pull = transfers
                .advance(&a[0], pull.request, 1, Some(place(bucket)), now)
                .unwrap();
        }
        assert_eq!(pull.bytes, CHUNK_BYTES, "quick again");
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
