//! Announcements: what nodes tell each other of themselves, and what follows for the members that send them.

use std::time::Duration;

use super::absence::{OwnStatus, Verdict};
use super::{Members, MembersOutput, ms};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::Phase;
use crate::replication::message::{Announce, DeclaredWorker};

/// What an announcement led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// The node that sent it is not in the roster: nothing was recorded.
    Unknown,
    /// It was recorded.
    Recorded {
        /// Whether the node has the whole table now and had not before.
        became_ready: bool,
    },
    /// This node was away for longer than tombstones live and has to begin again, see [`Members::begin_again`].
    /// Nothing else was recorded.
    BeginAgain,
}

impl Members {
    /// What this node announces to `node`.
    #[must_use]
    pub fn announcement_to(&self, node: &NodeId, phase: &Phase, workers: Vec<DeclaredWorker>) -> Announce {
        let mut announce = Announce {
            ready: *phase == Phase::Ready,
            leaving: *phase == Phase::Leaving,
            time_ms: self.clocks.latest_time_ms(),
            forgotten_until_ms: 0,
            memory_since_ms: 0,
            receiver_memory_since_ms: 0,
            receiver_lost_since_ms: u64::MAX,
            members: 0,
            workers,
        };
        self.absences.complete(&mut announce, node, self.group());
        announce
    }

    /// `node` announces what it is.
    pub fn on_announce(
        &mut self,
        node: &NodeId,
        announce: &Announce,
        own: OwnStatus<'_>,
        now: Now,
    ) -> Announced {
        if announce.ready && self.roster.get(node).is_some() {
            self.on_announced_time(node, announce.time_ms, now);
        }
        let (group, roster) = (self.group(), &self.roster);
        let is_member = |node: &NodeId| roster.get(node).is_some();
        let absences = &mut self.absences;
        if absences.on_announce(node, announce, own, group, is_member, now.mono) == Verdict::BeginAgain {
            return Announced::BeginAgain;
        }
        let Some(member) = self.roster.get_mut(node) else {
            return Announced::Unknown;
        };
        let became_ready = announce.ready && !member.ready;
        if became_ready || !(announce.ready || announce.leaving) {
            // What it gets from others may be without an end that is known here.
            absences.note_catch_up(node, 0, now.mono);
        }
        member.ready = announce.ready;
        member.leaving = announce.leaving;
        Announced::Recorded { became_ready }
    }

    /// Whether what `node` sends of sessions is applied. If not, it has to be sent again on another link.
    pub fn trusts(&mut self, node: &NodeId, now: Now) -> bool {
        self.absences.trusts(node, now.mono)
    }

    /// Since when there is a memory both here and at `node`, in milliseconds since 1970.
    #[must_use]
    pub fn met_ms(&self, node: &NodeId) -> u64 {
        self.absences.met_ms(node)
    }

    /// A tombstone of a session that was deleted at `deleted_ms` is forgotten here.
    pub fn note_forgotten_tombstone(&mut self, deleted_ms: u64) {
        self.absences.note_forgotten_tombstone(deleted_ms);
    }

    /// How long a node that came back, or is joining, may still lack the tombstone of a session that was deleted at
    /// `deleted_ms`; `None` when none does.
    #[must_use]
    pub fn tombstone_lacked_for(&self, deleted_ms: u64, now: Now) -> Option<Duration> {
        self.absences.tombstone_lacked_for(deleted_ms, now.mono)
    }

    /// `node` is gone and did not leave: it may have been silent for a while already.
    pub(super) fn note_lost(&mut self, node: &NodeId, now: Now) {
        let silent = ms(self.config.swim.drop_time);
        let since_ms = self.clocks.time_ms(now).saturating_sub(silent);
        self.absences.note_down(node, since_ms, now.mono);
    }

    /// Time passes, as every call notes that may be the first after this process stood still: then it was away from
    /// everybody, and its links are made anew.
    pub fn note_time(&mut self, now: Now) {
        let Some(stood) = self.absences.note_time(now.mono) else {
            return;
        };
        tracing::warn!(?stood, "this process stood still");
        let since = self.clocks.time_ms(now).saturating_sub(ms(stood));
        for (node, member) in self.roster.iter() {
            if !member.is_gone() {
                self.absences.note_down(node, since, now.mono);
                self.outputs.push(MembersOutput::CloseLink(node.clone()));
            }
        }
    }
}
