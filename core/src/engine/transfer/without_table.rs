//! Starting without a table: when a joining node may, and what it says when it did because nobody answered.
//!
//! ```text
//! alone       it was told of nobody
//! first       everybody it was told of has certainly none ([`super::inquiry`]), and its id is the first of those that join
//! incomplete  `state_transfer_timeout` has passed: loudly, until a member that has the table is met
//! ```
//! Getting the table from others is [`super::joining`]'s.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::inquiry::Answer;
use super::joining::Step;
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::changed::Changed;
use crate::engine::{Engine, Mode, Output, Peer, Phase};
use crate::membership::Member;

/// How a node came to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It got the table from others.
    WithTable,
    /// It was told of nobody to ask, and has an empty table.
    Alone,
    /// Nobody it was told of has a table, and it is the first of those that join. Its table is empty.
    First,
    /// It waited in vain for `state_transfer_timeout`, and has what had come by then.
    Incomplete,
}

/// What a node lacks that became ready as [`Start::Incomplete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Shortfall {
    reason: String,
    /// The members that have what is missing; in `delta` mode, and where none is known, any member has it.
    of: BTreeSet<NodeId>,
}

impl Engine {
    /// Becomes ready with an empty table if nobody can have one, and this node is the first by name of those that join.
    pub(super) fn start_without_table(&mut self, now: Now) {
        let (roster, peers) = (self.members.roster(), &self.peers);
        let has_announced = |node: &NodeId| peers.get(node).is_some_and(|peer: &Peer| peer.announced);
        let inquiry = &self.joining.inquiry;
        let joins = |node: &NodeId, member: &Member| {
            let says_so = has_announced(node) && inquiry.said_lately_to_join(node, now.mono);
            member.linked && says_so && !member.ready && !member.leaving
        };
        let is_joining = |node: &NodeId| roster.get(node).is_some_and(|member| joins(node, member));
        let own = self.members.identity().addr;
        let obstacle = inquiry.obstacle(own, is_joining, now.mono);
        let is_there = |member: &Member| member.active || member.linked;
        let comes_after = |(node, member): (&NodeId, &Member)| {
            !is_there(member) || joins(node, member) && *node > self.config.node
        };
        let may_start =
            obstacle.is_none() && self.members.are_clocks_known(now) && roster.iter().all(comes_after);
        self.joining.obstacle = obstacle;
        if may_start {
            let start = if self.joining.inquiry.is_alone() {
                Start::Alone
            } else {
                Start::First
            };
            self.become_ready(start, now);
        }
    }

    /// Whoever has the table sends nothing of it, and was waited for long enough: better what is here than nothing.
    pub(super) fn start_incomplete(&mut self, waited: Duration, now: Now) {
        let donors = self.donors();
        let missing = self.missing_members();
        let received = self.transfers.received();
        let in_parts = matches!(self.config.mode, Mode::Backup { .. });
        self.counters.joined_without_members += donors.len() as u64;
        let reason = match (&self.joining.step, donors.is_empty()) {
            (Step::Waiting, true) => self.joining.waits_for(),
            _ => self.missing_sentence(),
        };
        let reason = format!(
            "started after {waited:?} without the whole session table, with {received} sessions received: {reason}"
        );
        tracing::warn!(
            ?donors,
            ?missing,
            "{reason}. Sessions may be missing here until a member that has them is linked"
        );
        let of = if in_parts { missing } else { BTreeSet::new() };
        self.joining.shortfall = Some(Shortfall { reason, of });
        self.become_ready(Start::Incomplete, now);
    }

    /// How this node came to be ready; `None` while it is not.
    #[must_use]
    pub const fn started(&self) -> Option<Start> {
        self.joining.started
    }

    /// Why a part of the table may be missing here though this node is ready, in a sentence: it waited in vain, and has
    /// met nobody who has it since.
    #[must_use]
    pub fn shortfall(&self) -> Option<&str> {
        let shortfall = self.joining.shortfall.as_ref();
        shortfall.map(|shortfall| shortfall.reason.as_str())
    }

    /// Whether members that are known by name have sessions that are missing here.
    pub(in crate::engine) fn lacks_parts(&self) -> bool {
        let shortfall = self.joining.shortfall.as_ref();
        shortfall.is_some_and(|shortfall| !shortfall.of.is_empty())
    }

    /// `node` has a table, and repair compares this node's with it.
    pub(in crate::engine) fn meet_table(&mut self, node: &NodeId) {
        let member = self.members.roster().get(node);
        if self.phase == Phase::Ready && member.is_some_and(|member| member.linked && member.ready) {
            self.miss_no_more(node);
        }
    }

    /// What `node` alone has is not missing any more: it is being repaired, or gone with it.
    pub(in crate::engine) fn miss_no_more(&mut self, node: &NodeId) {
        let Some(shortfall) = &mut self.joining.shortfall else {
            return;
        };
        shortfall.of.remove(node);
        if shortfall.of.is_empty() {
            tracing::info!(peer = %node, "a member that has the sessions is linked; what is missing is repaired");
            self.joining.shortfall = None;
        }
    }

    /// `node`, which listens at `addr`, has made a link to this node.
    pub(in crate::engine) fn note_dialler(&mut self, node: &NodeId, addr: SocketAddr) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.joining.inquiry.on_dialled(node, addr);
        }
    }

    /// A genuine hint led to `addr`.
    pub(in crate::engine) fn note_hint(&mut self, addr: SocketAddr) {
        if matches!(self.phase, Phase::Joining { .. }) {
            self.joining.inquiry.on_hint(addr);
        }
    }

    /// Hints were listened to for long enough for every node that sends them to have sent one.
    pub fn hints_heard(&mut self, now: Now) {
        self.joining.inquiry.on_hints_heard();
        self.changed.note(Changed::JOINING);
        self.settle(now);
    }

    /// A seed, or the DNS name, resolved to `addrs`; to none where it does not resolve.
    pub fn seed_resolved(&mut self, name: &str, addrs: &[SocketAddr], now: Now) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        let new = self.joining.inquiry.on_resolved(name, addrs).into_iter();
        self.outputs.extend(new.map(Output::Dial));
        self.changed.note(Changed::JOINING);
        self.settle(now);
    }

    /// What `addr` answered to this node's hello. That it refused or was silent is [`Self::unreachable`]'s.
    pub fn answered(&mut self, addr: SocketAddr, answer: Answer, now: Now) {
        self.joining.inquiry.on_answer(addr, Some(answer));
        self.changed.note(Changed::JOINING);
        self.settle(now);
    }
}
