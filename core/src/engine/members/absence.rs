//! Absences: which nodes were away for longer than tombstones live, and whether what they send of sessions is applied.
//!
//! A tombstone is kept for `tombstone_life`. A node that was away for longer may hold a session whose tombstone
//! everybody else has forgotten, and would bring it back. So two nodes that meet again first tell each other up to
//! when they have forgotten tombstones, and since when they have been without each other. Whoever may have missed a
//! forgotten tombstone begins again: it drops its table, takes a later incarnation and gets the table from the others.
//! If both may have, the one of the smaller group does. Until that is settled nothing the other sends of sessions is
//! applied.
//!
//! A tombstone that nobody has forgotten yet when two nodes meet is passed on by repair, which takes a while. So a node
//! that came back, or is joining, *catches up*: meanwhile the others keep the tombstones it may lack, and an absence
//! that begins again before it is done counts from when the one before began.
//!
//! This value decides who begins again. [`super::Members::begin_again`] and the engine do it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::ms;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::Phase;
use crate::replication::message::Announce;

/// How long a node that is expected to begin again has for it. After that what it sends is applied all the same.
const BEGIN_AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// How many nodes an absence is kept of. Past it those of nodes that are not in the roster go.
const KEPT_MAX: usize = 2 * MEMBERS_MAX;

/// What is known of one node's memory.
#[derive(Debug, Clone, Copy)]
struct Absence {
    /// When the memory of the node began, by its own account, in milliseconds since 1970.
    memory_since_ms: u64,
    trust: Trust,
    catch_up: Option<CatchUp>,
}

/// A node that is trusted and may still lack tombstones: it came back a moment ago, or is joining.
#[derive(Debug, Clone, Copy)]
struct CatchUp {
    /// It may lack those of sessions that were deleted after this moment, in milliseconds since 1970; 0 for all, while it
    /// joins.
    since_ms: u64,
    /// When repair has brought them.
    until: Duration,
}

/// Whether what a node sends of sessions is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It is.
    Trusted,
    /// It is not: the node has been away since this moment, in milliseconds since 1970.
    Away(u64),
    /// It is not before `until`: the node is expected to begin again. It has been away since `since`.
    Outdated {
        /// In milliseconds since 1970.
        since: u64,
        until: Duration,
    },
}

/// What this node is at the moment an announcement arrives.
#[derive(Debug, Clone, Copy)]
pub struct OwnStatus<'a> {
    /// How far it is.
    pub phase: &'a Phase,
    /// Whether its session table holds anything.
    pub has_sessions: bool,
}

/// What follows from an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What the node sends of sessions is applied from now on.
    Trusted,
    /// It is not: the node is expected to begin again.
    Outdated,
    /// This node is the one that begins again.
    BeginAgain,
}

/// What absences are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct AbsenceLimits {
    /// How long tombstones are kept.
    pub(super) tombstone_life: Duration,
    /// How far apart the times of two nodes may be.
    pub(super) max_skew: Duration,
    /// How long repair takes to bring a node what it missed.
    pub(super) catch_up: Duration,
}

/// The absences of all nodes this node has met. See the module page.
#[derive(Debug)]
pub(super) struct Absences {
    node: NodeId,
    limits: AbsenceLimits,
    with: BTreeMap<NodeId, Absence>,
    /// When the last node that catches up has done so.
    catch_ups_until: Duration,
    /// Up to this moment tombstones were forgotten, in milliseconds since 1970; 0 for none.
    forgotten_until_ms: u64,
    /// When time last passed, to notice that this process stood still.
    ticked: Option<Duration>,
    /// Whether this process stood still, and nobody has settled yet what it missed.
    was_paused: bool,
    /// When this node's memory began, in milliseconds since 1970.
    memory_since_ms: u64,
    /// Whether it began again while it was joining. It does so once only, or a bad path would keep it from ever being
    /// ready.
    began_again: bool,
}

impl Absences {
    /// A node whose memory begins at `memory_since_ms`.
    pub(super) const fn new(node: NodeId, limits: AbsenceLimits, memory_since_ms: u64) -> Self {
        Self {
            node,
            limits,
            with: BTreeMap::new(),
            catch_ups_until: Duration::ZERO,
            forgotten_until_ms: 0,
            ticked: None,
            was_paused: false,
            memory_since_ms,
            began_again: false,
        }
    }

    /// The same node with an empty memory, which begins now and later than its last.
    pub(super) fn begin_again(&self, time_ms: u64, joining: bool) -> Self {
        // A memory that began on another time than the cluster's is no bound for one that begins on that.
        let is_near = self.memory_since_ms.saturating_sub(time_ms) <= ms(self.limits.max_skew);
        let later = if is_near {
            self.memory_since_ms.saturating_add(1)
        } else {
            0
        };
        let memory_since_ms = time_ms.max(later);
        Self {
            began_again: joining,
            ..Self::new(self.node.clone(), self.limits, memory_since_ms)
        }
    }

    /// The time was set by `by_ms` while this node was joining: its memory began on another.
    pub(super) const fn shift(&mut self, by_ms: i64) {
        self.memory_since_ms = self.memory_since_ms.saturating_add_signed(by_ms);
    }

    fn trust(&self, node: &NodeId) -> Option<Trust> {
        self.with.get(node).map(|absence| absence.trust)
    }

    fn set(&mut self, node: &NodeId, trust: Trust) {
        if let Some(absence) = self.with.get_mut(node) {
            absence.trust = trust;
        }
    }

    /// Whether what `node` sends of sessions is applied. If not, it has to be sent again on another link.
    pub(super) fn trusts(&mut self, node: &NodeId, now: Duration) -> bool {
        match self.trust(node) {
            None | Some(Trust::Trusted) => true,
            Some(Trust::Away(_)) => false,
            Some(Trust::Outdated { until, .. }) => {
                let is_over = now >= until;
                if is_over {
                    self.set(node, Trust::Trusted);
                }
                is_over
            }
        }
    }

    /// Since when there is a memory both here and at `node`, in milliseconds since 1970.
    pub(super) fn met_ms(&self, node: &NodeId) -> u64 {
        let theirs = self.with.get(node).map_or(0, |absence| absence.memory_since_ms);
        theirs.max(self.memory_since_ms)
    }

    /// A tombstone of a session that was deleted at `deleted_ms` is forgotten here.
    pub(super) fn note_forgotten_tombstone(&mut self, deleted_ms: u64) {
        self.forgotten_until_ms = self.forgotten_until_ms.max(deleted_ms);
    }

    /// `node` is no member any more, and has been away since `since_ms`. One that left is to be forgotten instead.
    pub(super) fn note_down(&mut self, node: &NodeId, since_ms: u64, now: Duration) {
        if let Some(absence) = self.with.get_mut(node)
            && absence.trust == Trust::Trusted
        {
            let catch_up = absence.catch_up.take();
            let before = catch_up.filter(|catch_up| now < catch_up.until && catch_up.since_ms > 0);
            let since_ms = before.map_or(since_ms, |before| before.since_ms.min(since_ms));
            absence.trust = Trust::Away(since_ms);
        }
    }

    /// `node` came back and may lack tombstones of sessions deleted after `since_ms`, or all of them while it joins, for
    /// which that is 0.
    pub(super) fn note_catch_up(&mut self, node: &NodeId, since_ms: u64, now: Duration) {
        let until = now + self.limits.catch_up;
        if let Some(absence) = self.with.get_mut(node) {
            let before = absence.catch_up.filter(|before| now < before.until);
            let since_ms = before.map_or(since_ms, |before| before.since_ms.min(since_ms));
            absence.catch_up = Some(CatchUp { since_ms, until });
            self.catch_ups_until = until;
        }
    }

    /// How long a node that catches up may still lack the tombstone of a session that was deleted at `deleted_ms`.
    pub(super) fn tombstone_lacked_for(&self, deleted_ms: u64, now: Duration) -> Option<Duration> {
        if now >= self.catch_ups_until {
            return None;
        }
        let skew_ms = ms(self.limits.max_skew);
        let nodes = self.with.values().filter_map(|absence| absence.catch_up);
        let lacking =
            nodes.filter(|node| now < node.until && deleted_ms.saturating_add(skew_ms) >= node.since_ms);
        lacking.map(|node| node.until.saturating_sub(now)).max()
    }

    /// Time passes. Returns for how long this process stood still, if that was for half of the life of tombstones or
    /// longer: then it was away from everybody.
    pub(super) fn note_time(&mut self, now: Duration) -> Option<Duration> {
        let last = self.ticked.replace(now).unwrap_or(now);
        let stood = now.saturating_sub(last);
        let is_long = stood >= self.limits.tombstone_life / 2;
        self.was_paused |= is_long;
        is_long.then_some(stood)
    }

    /// Completes what this node announces to `node` with what is said of memories. `group` is how many members this
    /// node counts, itself included.
    pub(super) fn complete(&self, announce: &mut Announce, node: &NodeId, group: usize) {
        announce.forgotten_until_ms = self.forgotten_until_ms;
        announce.memory_since_ms = self.memory_since_ms;
        announce.receiver_memory_since_ms = self.with.get(node).map_or(0, |absence| absence.memory_since_ms);
        announce.receiver_lost_since_ms = self.away_ms(node, group);
        announce.members = self.weight(group);
    }

    /// How much this node's memory counts against another's: whoever stood still yields to everybody.
    fn weight(&self, group: usize) -> u32 {
        if self.was_paused {
            0
        } else {
            u32::try_from(group).unwrap_or(u32::MAX)
        }
    }

    /// Since when `node` has been away, in milliseconds since 1970; [`u64::MAX`] if it has not.
    fn away_ms(&self, node: &NodeId, group: usize) -> u64 {
        let away = || {
            self.with.values().filter_map(|absence| match absence.trust {
                Trust::Away(since) => Some(since),
                _ => None,
            })
        };
        match self.trust(node) {
            Some(Trust::Away(since) | Trust::Outdated { since, .. }) => since,
            Some(Trust::Trusted) => u64::MAX,
            // One that was never met: a node that is without most of its own cluster has been away from it as well.
            None if group < away().count() => away().min().unwrap_or(u64::MAX),
            None => u64::MAX,
        }
    }

    /// Since when one of the two nodes has been without the other, by what both say; [`u64::MAX`] if neither has.
    /// Memories that have not met have been without each other since the later one began, unless the other one, which
    /// is joining, has met this one.
    fn away_by_both(
        &mut self,
        node: &NodeId,
        announce: &Announce,
        group: usize,
        is_member: impl Fn(&NodeId) -> bool,
    ) -> u64 {
        let knows_this = announce.receiver_memory_since_ms == self.memory_since_ms;
        // A process that stood still does not know yet that it was away; the other side does.
        let away_there = if knows_this {
            announce.receiver_lost_since_ms
        } else {
            u64::MAX
        };
        let known = self.with.get(node).copied();
        if known.is_some_and(|known| known.memory_since_ms == announce.memory_since_ms) {
            return self.away_ms(node, group).min(away_there);
        }
        let joined_here = knows_this && announce.memory_since_ms > self.memory_since_ms;
        let both_born = announce.memory_since_ms.max(self.memory_since_ms);
        let away = match known {
            _ if joined_here => away_there,
            Some(_) => both_born, // a later memory holds nothing of the one before
            None => self.away_ms(node, group).min(away_there).min(both_born),
        };
        let trust = if away == u64::MAX {
            Trust::Trusted
        } else {
            Trust::Away(away)
        };
        if known.is_none() && self.with.len() >= KEPT_MAX {
            self.with.retain(|node, _| is_member(node));
        }
        let memory_since_ms = announce.memory_since_ms;
        self.with.insert(
            node.clone(),
            Absence {
                memory_since_ms,
                trust,
                catch_up: None,
            },
        );
        away
    }

    /// `node` announces what it is. Decides whether it was away for too long, and if so which of the two begins again.
    /// `is_member` says whether a node is in the roster.
    pub(super) fn on_announce(
        &mut self,
        node: &NodeId,
        announce: &Announce,
        own: OwnStatus<'_>,
        group: usize,
        is_member: impl Fn(&NodeId) -> bool,
        now: Duration,
    ) -> Verdict {
        let joining = matches!(own.phase, Phase::Joining { .. });
        if joining {
            self.note_forgotten_tombstone(announce.forgotten_until_ms);
        }
        let known = self.with.get(node);
        let met = known.is_some_and(|known| known.memory_since_ms == announce.memory_since_ms);
        let away = self.away_by_both(node, announce, group, is_member);
        if away == u64::MAX {
            return Verdict::Trusted;
        }
        let nothing_to_lose = *own.phase != Phase::Ready || !announce.ready;
        let skew_ms = ms(self.limits.max_skew);
        let missed_a_tombstone = |forgot: u64| forgot > 0 && forgot.saturating_add(skew_ms) >= away;
        let here = missed_a_tombstone(announce.forgotten_until_ms);
        let there = missed_a_tombstone(self.forgotten_until_ms);
        let mine = (self.weight(group), Reverse(&self.node));
        let theirs = (announce.members, Reverse(node));
        let yields = match (self.was_paused, announce.members == 0) {
            (true, false) => true,
            (false, true) => false,
            _ => here && (!there || mine < theirs),
        };
        if joining && met && !self.began_again && announce.ready && here && own.has_sessions {
            tracing::warn!(peer = %node, "was away too long while it got its table; begins again");
            Verdict::BeginAgain
        } else if nothing_to_lose || !(here || there) {
            self.set(node, Trust::Trusted);
            self.note_catch_up(node, away, now);
            self.was_paused = false;
            Verdict::Trusted
        } else if yields {
            tracing::error!(
                peer = %node,
                "was away for longer than tombstones live; drops its table and takes it anew"
            );
            Verdict::BeginAgain
        } else {
            if !matches!(self.trust(node), Some(Trust::Outdated { .. })) {
                tracing::warn!(peer = %node, "was away for longer than tombstones live; it has to take its table anew");
                let until = now + BEGIN_AGAIN_WITHIN;
                self.set(node, Trust::Outdated { since: away, until });
            }
            Verdict::Outdated
        }
    }

    /// Drops what is kept of `node`. Should it come back, both memories count as such that have not met.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.with.remove(node);
    }

    /// Whether something is kept of `node`.
    #[cfg(test)]
    pub(super) fn is_kept(&self, node: &NodeId) -> bool {
        self.with.contains_key(node)
    }

    /// How many nodes something is kept of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.with.len()
    }
}

#[cfg(test)]
mod tests;
