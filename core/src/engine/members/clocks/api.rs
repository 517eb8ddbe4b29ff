//! What the rest of membership, and the engine, ask of clocks and tell them.

use super::Correction;
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::members::{Members, MembersOutput};
use crate::membership::{ClusterTime, MemberMessage};

impl Members {
    /// The cluster's time, in milliseconds since 1970: changes are stamped with it and idle sessions are counted by it.
    #[must_use]
    pub fn time_ms(&self, now: Now) -> u64 {
        self.clocks.time_ms(now)
    }

    /// What the cluster's time reads minus what this node's monotonic clock reads, in milliseconds.
    #[must_use]
    pub const fn time_offset_ms(&self) -> i64 {
        self.clocks.time.offset_ms()
    }

    /// This node has joined, and keeps the cluster's time from now on. `has_table` says whether any of the table came.
    pub fn settle_time(&mut self, has_table: bool, now: Now) {
        let by_ms = self.clocks.settle(has_table, now);
        self.absences.shift(by_ms);
    }

    /// Whether the clocks of all linked nodes are known well enough to begin a cluster with them.
    #[must_use]
    pub fn are_clocks_known(&self, now: Now) -> bool {
        let linked = self.roster.iter().filter(|(_, member)| member.linked);
        let linked = linked.map(|(node, _)| node.clone());
        self.clocks.are_known(linked, now.mono)
    }

    /// Sets this node's time if another one stands against it. What it stamped is then to be stamped anew.
    pub fn correct_time(&mut self, now: Now) -> Option<Correction> {
        self.clocks.correct(now)
    }

    /// By how many milliseconds this node's wall clock is ahead of the right time, while it is wrong.
    #[must_use]
    pub const fn wall_clock_error_ms(&self) -> Option<i64> {
        self.clocks.wrong_ms
    }

    /// How many milliseconds this node's wall clock is ahead of the cluster's time.
    #[must_use]
    pub const fn wall_clock_ahead_ms(&self) -> i64 {
        self.clocks.wall_ms.saturating_sub(self.clocks.time.offset_ms())
    }

    /// By how many milliseconds this node's time is ahead of the one that stands against it.
    #[must_use]
    pub fn time_error_ms(&self) -> Option<i64> {
        let (_, kept) = self.clocks.contradicted?;
        Some(self.clocks.time.offset_ms().saturating_sub(kept.time_ms))
    }

    /// How often peers said that they refused this node's stamps.
    #[must_use]
    pub const fn stamp_refusals(&self) -> u64 {
        self.clocks.refusals
    }

    /// How many milliseconds `node`'s wall clock is ahead of this one, where it was measured.
    #[must_use]
    pub fn clock_drift_ms(&self, node: &NodeId) -> Option<i64> {
        self.clocks.ahead_ms(node)
    }

    /// A change of `node` was refused because it was stamped `ahead_ms` ahead of this node's time: it is told.
    pub fn refuse_stamp(&mut self, node: &NodeId, ahead_ms: u64, now: Now) {
        if self.clocks.is_refusal_told(node, now.mono) {
            tracing::warn!(peer = %node, ahead_ms, "refused changes stamped too far ahead of this node's time");
            self.send(node.clone(), MemberMessage::StampRefused { ahead_ms });
            self.ask_clock(node.clone(), now);
        }
    }

    /// `node` answers what its clocks read.
    pub(in crate::engine::members) fn on_clock_reply(
        &mut self,
        node: &NodeId,
        (asked_ms, wall_ms): (u64, u64),
        time: Option<ClusterTime>,
        now: Now,
    ) {
        if self.roster.get(node).is_some() {
            let by_ms = self.clocks.on_reply(node, asked_ms, wall_ms, time, now);
            self.note_time_taken(by_ms);
        }
    }

    /// The ready node `node` announces that it is `time_ms` for it.
    pub(in crate::engine::members) fn on_announced_time(&mut self, node: &NodeId, time_ms: u64, now: Now) {
        let by_ms = self.clocks.on_announced(node, time_ms, now);
        self.note_time_taken(by_ms);
    }

    /// While joining, the time was set by `by_ms`.
    fn note_time_taken(&mut self, by_ms: i64) {
        self.absences.shift(by_ms);
        if self.clocks.is_another(by_ms) {
            self.outputs.push(MembersOutput::AnotherTime);
        }
    }

    /// `node` refused changes of this node.
    pub(in crate::engine::members) fn on_stamp_refused(&mut self, node: &NodeId, ahead_ms: u64, now: Now) {
        if self.roster.get(node).is_none() {
            return;
        }
        self.clocks.refusals += 1;
        tracing::warn!(peer = %node, ahead_ms, "it refuses this node's changes: their stamps are ahead of its time");
        self.ask_clock(node.clone(), now);
    }

    pub(in crate::engine::members) fn advance_clocks(&mut self, now: Now) {
        let roster = &self.roster;
        let is_there = |node: &NodeId| {
            roster
                .get(node)
                .is_some_and(|member| member.active || member.linked)
        };
        self.clocks.advance(is_there, now);
    }

    pub(in crate::engine::members) fn send_clock_requests(&mut self, now: Now) {
        let linked = self.roster.iter().filter(|(_, member)| member.linked);
        let linked = linked.map(|(node, _)| node.clone());
        for node in self.clocks.whom_to_ask(linked, now.mono) {
            self.ask_clock(node, now);
        }
    }

    pub(in crate::engine::members) fn ask_clock(&mut self, node: NodeId, now: Now) {
        self.clocks.note_asked(&node, now.mono);
        let asked_ms = now.mono_ms();
        self.send(node, MemberMessage::ClockRequest { asked_ms });
    }
}
