//! Whether what a node says of sessions may be believed after it was away.
//!
//! The end of a session is remembered for a time. A node that was away for longer may hold a session whose end
//! everybody else has forgotten by now, and would bring it back. So two nodes that meet again first tell each other
//! up to when they have forgotten ends, and since when they have missed each other. Whoever may have missed an end
//! starts over: it drops what it has, takes a later incarnation and gets the table anew. If both may, the smaller
//! side does. Until that is settled nothing the other says of sessions is heard.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::sessions::expiry;
use crate::engine::transfer::joining::Joining;
use crate::engine::{Engine, Output, Phase};
use crate::replication::message::{Announce, Message};
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

/// How long a node that should start over has before it is believed all the same.
const OVERRULED_AFTER: Duration = Duration::from_secs(10);
/// What a node that starts over waits for beside its seeds: somebody who has the sessions.
const ANYBODY: &str = "any member";

/// What there is between this node and another.
#[derive(Debug, Clone, Copy)]
struct Absence {
    /// When the memory of the other began, by what it says. Another one has nothing that could be outdated.
    born_ms: u64,
    trust: Trust,
}

/// Whether another node is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Everything it says is heard.
    Close,
    /// It was missed from this moment on, in milliseconds since 1970.
    Missed(u64),
    /// It is to start over; believed all the same from the moment `until` on.
    Doubted {
        /// From when on it was missed, in milliseconds since 1970.
        since: u64,
        until: Duration,
    },
}

/// The contact with every node that was ever met.
#[derive(Debug)]
pub(in crate::engine) struct Absences {
    with: BTreeMap<NodeId, Absence>,
    /// Up to this moment ends of sessions were forgotten, in milliseconds since 1970; 0 for none.
    forgot_ms: u64,
    ticked: Option<Duration>,
    /// Whether this process stood still, and has met nobody who could say what it missed.
    was_paused: bool,
    /// When this node's memory began, in milliseconds since 1970.
    born_ms: u64,
    /// Whether it began while the node was joining: it does not so twice, or a bad path would keep it from ever being
    /// ready.
    began_anew: bool,
}

impl Absences {
    /// A node whose memory begins at `born_ms`.
    pub(in crate::engine) fn new(born_ms: u64) -> Self {
        Self {
            with: BTreeMap::new(),
            forgot_ms: 0,
            ticked: None,
            was_paused: false,
            born_ms,
            began_anew: false,
        }
    }

    fn trust(&self, node: &NodeId) -> Option<Trust> {
        self.with.get(node).map(|absence| absence.trust)
    }

    /// Since when there is a memory both here and at `node`, in milliseconds since 1970.
    pub(in crate::engine) fn met_ms(&self, node: &NodeId) -> u64 {
        let theirs = self.with.get(node).map_or(0, |absence| absence.born_ms);
        theirs.max(self.born_ms)
    }

    fn set(&mut self, node: &NodeId, trust: Trust) {
        if let Some(absence) = self.with.get_mut(node) {
            absence.trust = trust;
        }
    }

    /// The end of a session, which was at `at_ms`, is being forgotten.
    pub(in crate::engine) fn note_forgotten(&mut self, at_ms: u64) {
        self.forgot_ms = self.forgot_ms.max(at_ms);
    }

    fn missed(&self) -> impl Iterator<Item = u64> {
        self.with.values().filter_map(|absence| match absence.trust {
            Trust::Missed(since) => Some(since),
            _ => None,
        })
    }
}

impl Engine {
    /// Whether what `node` says of sessions is heard. What is not heard has to be said again on another link.
    pub(in crate::engine) fn trusts(&mut self, node: &NodeId, now: Now) -> bool {
        match self.absences.trust(node) {
            None | Some(Trust::Close) => true,
            Some(Trust::Missed(_)) => false,
            Some(Trust::Doubted { until, .. }) => {
                let overruled = now.mono >= until;
                if overruled {
                    self.absences.set(node, Trust::Close);
                }
                overruled
            }
        }
    }

    /// `node` is no member any more.
    pub(in crate::engine) fn note_missed(&mut self, node: &NodeId, left: bool, now: Now) {
        if left {
            self.absences.with.remove(node);
        } else if self.absences.trust(node) == Some(Trust::Close) {
            let silent = expiry::ms(self.config.swim.drop_time);
            let since = self.idle.read(now).saturating_sub(silent);
            self.absences.set(node, Trust::Missed(since));
        }
    }

    /// A process that stood still was away from everybody.
    pub(in crate::engine) fn note_pause(&mut self, now: Now) {
        let last = self.absences.ticked.replace(now.mono).unwrap_or(now.mono);
        let stood = now.mono.saturating_sub(last);
        if stood < self.config.tombstone_life / 2 {
            return;
        }
        tracing::warn!(?stood, "this process stood still");
        self.absences.was_paused = true;
        let since = self.idle.read(now).saturating_sub(expiry::ms(stood));
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        for node in nodes {
            if self.absences.trust(&node) == Some(Trust::Close) {
                self.absences.set(&node, Trust::Missed(since));
            }
            self.outputs.push(Output::Close(node, CONTROL));
        }
    }

    /// What this node says of itself to `node`.
    fn announcement_to(&self, node: &NodeId) -> Announce {
        Announce {
            ready: self.phase == Phase::Ready,
            leaving: self.phase == Phase::Leaving,
            idle_ms: self.idle.latest(),
            forgotten_until_ms: self.absences.forgot_ms,
            memory_since_ms: self.absences.born_ms,
            receiver_memory_since_ms: self.absences.with.get(node).map_or(0, |absence| absence.born_ms),
            receiver_lost_since_ms: self.away_ms(node),
            members: self.weight(),
            workers: self.workers.own().to_vec(),
        }
    }

    /// How much what this node has counts against another's: whoever stood still yields to everybody.
    fn weight(&self) -> u32 {
        if self.absences.was_paused {
            0
        } else {
            u32::try_from(self.group()).unwrap_or(u32::MAX)
        }
    }

    /// How many members this node counts, itself included.
    fn group(&self) -> usize {
        1 + self.roster.active().count()
    }

    /// Since when `node` is missed; never, if it is not.
    fn away_ms(&self, node: &NodeId) -> u64 {
        match self.absences.trust(node) {
            Some(Trust::Missed(since) | Trust::Doubted { since, .. }) => since,
            Some(Trust::Close) => u64::MAX,
            // One that was never met: whoever misses most of its own cluster has been away from it as well.
            None if self.group() < self.absences.missed().count() => {
                self.absences.missed().min().unwrap_or(u64::MAX)
            }
            None => u64::MAX,
        }
    }

    /// Since when one of the two has missed the other, by what both say; never, if neither has. Memories that have not
    /// met have missed each other since the later one began, unless that one, joining, has met this.
    fn away_by_both(&mut self, node: &NodeId, announce: &Announce) -> u64 {
        let knows_this = announce.receiver_memory_since_ms == self.absences.born_ms;
        // A process that stood still does not know yet that it was away; the other side does.
        let away_there = if knows_this {
            announce.receiver_lost_since_ms
        } else {
            u64::MAX
        };
        let known = self.absences.with.get(node).copied();
        if known.is_some_and(|known| known.born_ms == announce.memory_since_ms) {
            return self.away_ms(node).min(away_there);
        }
        let joined_here = knows_this && announce.memory_since_ms > self.absences.born_ms;
        let away = match known {
            _ if joined_here => away_there,
            Some(_) => announce.memory_since_ms.max(self.absences.born_ms), // a later run has nothing of before
            None => self
                .away_ms(node)
                .min(away_there)
                .min(announce.memory_since_ms.max(self.absences.born_ms)),
        };
        if known.is_some() || self.absences.with.len() < MEMBERS_MAX {
            let absence = Absence {
                born_ms: announce.memory_since_ms,
                trust: if away == u64::MAX {
                    Trust::Close
                } else {
                    Trust::Missed(away)
                },
            };
            self.absences.with.insert(node.clone(), absence);
        }
        away
    }

    /// `node` says what it is: may it be believed again? Says whether this node has started over instead.
    pub(in crate::engine) fn check_absence(&mut self, node: &NodeId, announce: &Announce, now: Now) -> bool {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.absences.note_forgotten(announce.forgotten_until_ms);
        }
        let known = self.absences.with.get(node);
        let met = known.is_some_and(|known| known.born_ms == announce.memory_since_ms);
        let away = self.away_by_both(node, announce);
        if away == u64::MAX {
            return false;
        }
        let nothing_to_lose = self.phase != Phase::Ready || !announce.ready;
        let skew_ms = expiry::ms(self.config.clocks.max_skew);
        let missed_an_end = |forgot: u64| forgot > 0 && forgot.saturating_add(skew_ms) >= away;
        let here = missed_an_end(announce.forgotten_until_ms);
        let there = missed_an_end(self.absences.forgot_ms);
        let mine = (self.weight(), std::cmp::Reverse(&self.config.node));
        let theirs = (announce.members, std::cmp::Reverse(node));
        let yields = match (self.absences.was_paused, announce.members == 0) {
            (true, false) => true,
            (false, true) => false,
            _ => here && (!there || mine < theirs),
        };
        let joining = matches!(self.phase, Phase::Joining { .. });
        let may_begin_anew = joining && met && !self.absences.began_anew;
        if may_begin_anew && announce.ready && here && self.table.iter().next().is_some() {
            tracing::warn!(peer = %node, "was away too long while it got its table; begins anew");
            self.start_over(now);
            true
        } else if nothing_to_lose || !(here || there) {
            self.absences.set(node, Trust::Close);
            self.absences.was_paused = false;
            false
        } else if yields {
            tracing::error!(
                peer = %node,
                "was away for longer than the ends of sessions are remembered; drops its table and takes it anew"
            );
            self.start_over(now);
            true
        } else {
            if !matches!(self.absences.trust(node), Some(Trust::Doubted { .. })) {
                tracing::warn!(peer = %node, "was away for longer than the ends of sessions are remembered");
                let (since, until) = (away, now.mono + OVERRULED_AFTER);
                self.absences.set(node, Trust::Doubted { since, until });
            }
            false
        }
    }

    /// Becomes a later run of itself, with an empty table.
    fn start_over(&mut self, now: Now) {
        let identity = self.identity().clone();
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        let addrs: Vec<_> = self
            .roster
            .active()
            .map(|(_, member)| member.identity.addr)
            .collect();
        let waiting = self.acks.expired(Duration::MAX);
        let mut fresh = Self::begin(self.config.clone(), now);
        fresh.joining = Joining::new(std::iter::once(ANYBODY.to_owned()).collect(), now.mono);
        fresh.outputs = std::mem::take(&mut self.outputs);
        let waits = waiting
            .into_iter()
            .map(|(waiter, copies)| Output::Copies(waiter, copies));
        fresh.outputs.extend(waits);
        fresh
            .outputs
            .extend(self.fetches.drain().map(|id| Output::Fetched(id, false)));
        for node in nodes {
            let streams = StreamId::first(self.config.links);
            fresh
                .outputs
                .extend(streams.map(|stream| Output::Close(node.clone(), stream)));
        }
        fresh.outputs.extend(addrs.into_iter().map(Output::Dial));
        fresh.absences.born_ms = now.wall_ms.max(self.absences.born_ms + 1);
        fresh.absences.began_anew = matches!(self.phase, Phase::Joining { .. });
        fresh.feed = std::mem::take(&mut self.feed);
        fresh.counters = self.counters;
        fresh.counters.started_over += 1;
        fresh.hlc = self.hlc.clone();
        fresh.acks = std::mem::take(&mut self.acks); // numbers waiters on
        let sequences = self.peers.values().map(|peer| peer.outboxes().next());
        self.ids.retire_sequences(sequences.max().unwrap_or_default());
        fresh.ids = self.ids.clone();
        fresh.events = std::mem::take(&mut self.events); // whoever listens goes on listening
        std::mem::swap(&mut fresh.workers, &mut self.workers);
        fresh.workers = fresh.workers.started_over();
        let former = std::mem::replace(self, fresh);
        self.outputs.push(Output::Discard(Box::new(former)));
        self.outpace_incarnation(identity.incarnation, now);
    }

    /// Tells `node` what this node is.
    pub(in crate::engine) fn announce_to(&mut self, node: &NodeId) {
        let announcement = self.announcement_to(node);
        self.send(node, Message::Announce(announcement));
    }
}
