//! Finding out what is missing, and getting it.
//!
//! ```text
//! summary ─► equal: nothing to do
//!         └► digest ⇄ digest ─► what differs twice in the same way is pulled
//! ```
//! Tables are compared on an interval, when a link came up, when a node became ready, and after an outbox overflowed.
//! Under load two tables always differ in what is on its way just then, and never twice in the same way: the digest of
//! a bucket is the exclusive or of its sessions', so a difference that lasts shows as the same number again.
//! Both sides pull, so both end with the join of both tables.

use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{BUCKETS, NodeId, SessionKey};
use crate::engine::peers::intake::Refusals;
use crate::engine::{Engine, Phase};
use crate::replication::digest::{self, Buckets};
use crate::replication::message::Message;
use crate::replication::transfer::Source;
use crate::session::Record;

/// With how many peers tables are compared per interval, in turn: a node's cost does not grow with its domain.
pub(in crate::engine) const COMPARED_PER_INTERVAL: usize = 8;
/// The pause between the first few and the next, when all are to be compared with soon.
const NEXT_FEW: Duration = Duration::from_millis(250);
/// How long after two tables were found to differ they are compared once more.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How this node's table compares with a peer's.
#[derive(Debug, Default)]
pub(in crate::engine) struct Comparison {
    /// Of each bucket, what differed when tables were last compared; empty when nothing did.
    differed: Vec<u64>,
    /// When to compare once more.
    again: Option<Duration>,
    /// When it was last looked at.
    looked: Duration,
    /// Whether this comparison is already the second look.
    second: bool,
    /// Whether a summary was due while digests were being made anew.
    deferred: bool,
    /// Whether something was left to a transfer from another peer, and is to be looked at after it.
    postponed: bool,
    /// Sessions found different in the last repair.
    pub(in crate::engine) mismatched_sessions: u64,
    /// Repairs begun.
    pub(in crate::engine) repairs: u64,
}

impl Comparison {
    /// Takes note of what differs now; returns the buckets that differed in the same way a while ago.
    fn lasting(&mut self, differing: Vec<u64>, now: Duration) -> Buckets {
        let mut lasting = Buckets::NONE;
        if !self.differed.is_empty() && now.saturating_sub(self.looked) < LOOK_AGAIN / 2 {
            return lasting; // the same look, from the other side
        }
        self.looked = now;
        for (index, (now, before)) in differing.iter().zip(&self.differed).enumerate() {
            if *now != 0 && now == before {
                lasting.insert(index);
            }
        }
        self.differed = differing;
        lasting
    }
}

/// When tables are compared with which peers.
#[derive(Debug)]
pub(in crate::engine) struct Schedule {
    next: Duration,
    /// How many more rounds follow each other soon.
    rounds_soon: usize,
    /// The peer that was last compared with in turn.
    last: Option<NodeId>,
}

impl Schedule {
    /// The first round is at `next`.
    pub(in crate::engine) const fn new(next: Duration) -> Self {
        Self {
            next,
            rounds_soon: 0,
            last: None,
        }
    }

    /// The next round is at `next`.
    pub(in crate::engine) const fn put_off(&mut self, next: Duration) {
        self.next = next;
    }

    /// Every one of `peers` peers is to be compared with from `soon` on, a few at a time.
    pub(in crate::engine) fn hurry(&mut self, soon: Duration, peers: usize) {
        self.next = self.next.min(soon);
        self.rounds_soon = peers.div_ceil(COMPARED_PER_INTERVAL);
    }

    /// Whether a round is due; the next is then `interval` later, or sooner where that was asked for.
    fn is_due(&mut self, interval: Duration, now: Duration) -> bool {
        let due = now >= self.next;
        if due {
            self.rounds_soon = self.rounds_soon.saturating_sub(1);
            let pause = if self.rounds_soon > 0 { NEXT_FEW } else { interval };
            self.next = now + pause;
        }
        due
    }

    /// The next few of `peers`, in turn.
    fn take_turn(&mut self, peers: &[NodeId]) -> Vec<NodeId> {
        let last = self.last.as_ref();
        let begin = last.map_or(0, |last| peers.partition_point(|node| node <= last));
        let few = peers.len().min(COMPARED_PER_INTERVAL);
        let turn: Vec<_> = peers.iter().cycle().skip(begin).take(few).cloned().collect();
        self.last = turn.last().cloned();
        turn
    }
}

impl Engine {
    /// The linked members that have the whole table.
    pub(in crate::engine) fn donors(&self) -> Vec<NodeId> {
        let fits = |(_, member): &(&NodeId, &crate::membership::Member)| {
            member.linked && member.ready && !member.leaving
        };
        let fitting = self.members.roster().iter().filter(fits);
        fitting.map(|(node, _)| node.clone()).collect()
    }

    /// Asks for what is wanted and was not asked for yet.
    pub(in crate::engine) fn start_transfers(&mut self, now: Now) {
        if self.transfers.is_complete() {
            return;
        }
        for (donor, pull) in self.transfers.start(&self.donors(), now.mono) {
            self.send(&donor, Message::Pull(pull));
        }
    }

    /// Donors that are gone or silent: others go on where they stopped.
    pub(in crate::engine) fn drop_lost_donors(&mut self, now: Now) {
        for donor in self.transfers.take_silent(now.mono) {
            tracing::warn!(peer = %donor, "is slow to send sessions; others are asked as well");
        }
        let donors = self.transfers.donors();
        let donors: Vec<_> = donors
            .union(&self.transfers.sources())
            .copied()
            .cloned()
            .collect();
        for donor in donors {
            if !self.peers.get(&donor).is_some_and(crate::engine::Peer::is_linked) {
                tracing::warn!(peer = %donor, "is gone in the middle of sending sessions");
                if self.transfers.lost(&donor) {
                    self.check_again(&donor);
                }
            }
        }
    }

    /// `node` cannot send what it was asked for now.
    pub(in crate::engine) fn on_busy(&mut self, node: &NodeId, request: u64, now: Now) {
        self.note_transfer_progress(now);
        self.transfers.busy(node, request, now.mono);
        self.start_transfers(now);
    }

    /// Tells `node` one number for all this table holds, once it is whole, and once more what this node is: whatever
    /// was missed is put right by the same round.
    pub(in crate::engine) fn send_summary(&mut self, node: &NodeId) {
        if self.phase == Phase::Ready && self.peers.get(node).is_some_and(crate::engine::Peer::is_linked) {
            self.announce_to(node);
            match self.digests_for(node) {
                Some(digests) => self.send(node, Message::Summary(digest::summary(&digests))),
                None => self.defer_comparison(node),
            }
        }
    }

    /// Tells `node` what every bucket of this table holds, once it is whole.
    pub(in crate::engine) fn send_digest(&mut self, node: &NodeId) {
        if self.phase == Phase::Ready {
            match self.digests_for(node) {
                Some(digests) => self.send(node, Message::Digest(digests)),
                None => self.defer_comparison(node),
            }
        }
    }

    /// Tables are compared with `node` once there are digests again.
    fn defer_comparison(&mut self, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.comparison.deferred = true;
        }
    }

    /// Compares tables with some of the peers from time to time.
    pub(in crate::engine) fn progress_repair(&mut self, now: Now) {
        if self.phase != Phase::Ready {
            return;
        }
        self.drop_lost_donors(now);
        self.start_transfers(now);
        let has_digests = self.has_digests();
        let (mut behind, mut again, mut deferred) = (Vec::new(), Vec::new(), Vec::new());
        for (node, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.is_linked()) {
            if let Some(since_ms) = peer.outboxes.take_overflow() {
                behind.push((node.clone(), since_ms));
            }
            if has_digests && std::mem::take(&mut peer.comparison.deferred) {
                deferred.push(node.clone());
            }
            if peer.comparison.again.take_if(|at| *at <= now.mono).is_some() {
                peer.comparison.second = true;
                again.push(node.clone());
            }
        }
        for (node, since_ms) in behind {
            tracing::warn!(peer = %node, "fell behind; changes for it were dropped and it will repair itself");
            self.counters.behind += 1;
            self.note_missed_touches(&node, since_ms);
            self.send_summary(&node);
        }
        deferred.iter().for_each(|node| self.send_summary(node));
        again
            .iter()
            .for_each(|node| self.send(node, Message::DigestRequest));
        if self.repair.is_due(self.config.repair_interval, now.mono) {
            self.compare_in_turn();
        }
    }

    /// Compares tables with the next few peers.
    fn compare_in_turn(&mut self) {
        let linked: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_linked())
            .map(|(node, _)| node.clone())
            .collect();
        for node in self.repair.take_turn(&linked) {
            self.send_summary(&node);
        }
    }

    /// A peer says one number for all its table holds. Where that is another than this node's, both tell each other
    /// more.
    pub(in crate::engine) fn on_summary(&mut self, node: &NodeId, summary: u64) {
        if self.phase != Phase::Ready {
            return;
        }
        let Some(own) = self.digests_for(node) else {
            self.defer_comparison(node);
            return;
        };
        let equal = digest::summary(&own) == summary;
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        peer.comparison.second = false;
        if equal {
            peer.comparison.differed.clear();
            peer.comparison.mismatched_sessions = 0;
            self.counters.mismatched_buckets = 0;
        } else {
            self.send(node, Message::Digest(own));
            self.send(node, Message::DigestRequest);
        }
    }

    /// A peer says what every bucket of its table holds. What differs in the same way as the last time is pulled:
    /// anything else may still be on its way.
    pub(in crate::engine) fn on_digest(&mut self, node: &NodeId, digests: &[u64], now: Now) {
        let Some(own) = self.digests_for(node) else {
            self.defer_comparison(node);
            return;
        };
        let theirs = digests.iter().copied().chain(std::iter::repeat(0));
        let differing: Vec<_> = own.iter().zip(theirs).map(|(a, b)| a ^ b).take(BUCKETS).collect();
        if self.phase != Phase::Ready {
            let differing = Buckets::differing(own.into_iter(), digests);
            self.on_digest_while_joining(node, differing, now);
            return;
        }
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let any = differing.iter().any(|bucket| *bucket != 0);
        let lasting = peer.comparison.lasting(differing, now.mono);
        if any && !std::mem::take(&mut peer.comparison.second) {
            peer.comparison.again = Some(now.mono + LOOK_AGAIN);
        }
        self.counters.mismatched_buckets = u64::from(lasting.count());
        // What another peer is sending already may be all that is missing.
        let wanted = lasting.without(&self.transfers.wanted());
        peer.comparison.postponed = wanted != lasting;
        if wanted != Buckets::NONE {
            self.counters.repairs += 1;
            peer.comparison.repairs += 1;
            peer.comparison.mismatched_sessions = 0;
            tracing::info!(peer = %node, buckets = wanted.count(), "tables differ; pulls what differs");
            self.transfers.want(Source::Only(node.clone()), wanted);
            self.start_transfers(now);
        }
    }

    /// Joins what a repair brought, counting what was different. Says how many records were refused.
    pub(in crate::engine) fn apply_repair(
        &mut self,
        from: &NodeId,
        records: Vec<(SessionKey, Record)>,
        now: Now,
    ) -> Refusals {
        let holds = |engine: &Self, key: &SessionKey| engine.table.get(key).map_or(0, Record::digest);
        let (mut refused, mut different) = (Refusals::default(), 0);
        for (key, record) in records {
            let before = holds(self, &key);
            refused.add(self.apply_table(from, vec![(key.clone(), record)], now));
            different += u64::from(holds(self, &key) != before);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.comparison.mismatched_sessions += different;
        }
        refused
    }

    /// A repair is complete: was it all that others seemed to have as well?
    pub(in crate::engine) fn compare_postponed(&mut self) {
        let mut postponed = Vec::new();
        for (node, peer) in &mut self.peers {
            if std::mem::take(&mut peer.comparison.postponed) {
                peer.comparison.second = true;
                postponed.push(node.clone());
            }
        }
        postponed
            .iter()
            .for_each(|node| self.send(node, Message::DigestRequest));
    }
}
