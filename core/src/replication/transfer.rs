//! State transfer from the receiver's side: the parts of the table that it wants, and which donor each is requested of.
//!
//! What is wanted is cut into ranges of buckets. Each range is requested of one donor, one chunk at a time, and the
//! receiver says where to go on; the donor keeps no state. So the receiver's own speed is the flow control, several
//! donors send at the same time, and a donor that is lost, silent or busy is replaced at the same place.
//!
//! ```text
//! want ─► start: requested of a donor ─► chunk: next request, or done
//!           ▲              │
//!           └─ lost, silent, busy
//! ```
//! Making chunks, and what is wanted when, belong to [`crate::engine`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::digest::Buckets;
use crate::base::id::{BUCKETS, NodeId, SessionKey};
use crate::base::limits::{CHUNK_BYTES, PULL_TIMEOUT, PULLS_PER_DONOR};

/// Into how many ranges a whole table is cut, so that several donors share the work in proportion to their speed.
const RANGES: usize = 8;
/// The most donors that one range is requested of at the same place before one of them has answered.
const ASKED_MAX: usize = 4;
/// After how long a request is given up, and its donor may be asked again.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(20);
/// How large the first chunk of a range may be, in bytes. Quick answers make the next larger, slow ones smaller, so
/// that even over a slow link each arrives in time.
const CHUNK_FIRST: usize = 64 << 10;
const CHUNK_LEAST: usize = 16 << 10;
/// Answers up to `QUICK` double the size of the next chunk; answers past `SLOW` quarter it.
const QUICK: Duration = Duration::from_millis(250);
const SLOW: Duration = Duration::from_secs(1);
/// How long a busy donor is left alone: this, and up to as much again, so that the receivers it sent away do not all
/// come back at once.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

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
    /// This node: what it holds is wanted.
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

/// A part of the table that is wanted, and how much of it has arrived.
#[derive(Debug)]
struct Range {
    source: Source,
    buckets: Buckets,
    cursor: Cursor,
    /// About how many bytes to ask for next.
    bytes: usize,
    /// The donors that were asked for what follows the cursor and have not answered. Usually one.
    asked: Vec<Asked>,
}

/// A request without an answer yet.
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
    /// Nothing is wanted. Requests are numbered from `seed` on, which is another for every incarnation of a node.
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

    /// Requests of donors what nobody was asked for, or somebody was who is late; the donor with the fewest requests
    /// first. Returns the requests to send.
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

    /// Whether a chunk from `donor` for `request` is expected.
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

    /// `donor` is busy: others, or itself a little later, are asked instead.
    pub fn busy(&mut self, donor: &NodeId, request: u64, now: Duration) {
        let Some(range) = self
            .find(donor, request)
            .and_then(|index| self.ranges.get_mut(index))
        else {
            return;
        };
        range.asked.retain(|asked| asked.request != request);
        let jitter = BUSY_PAUSE.mul_f64(fraction(request));
        self.resting.insert(donor.clone(), now + BUSY_PAUSE + jitter);
    }

    /// `donor` is gone: others are asked instead. What only it could send is given up; returns whether there was such.
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
            range.asked.retain(|asked| asked.since + GIVEN_UP_AFTER > now);
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
mod tests;
