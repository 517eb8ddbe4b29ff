//! The clocks of this node and of the members: how far each member's wall clock is from this one, and the time by which
//! this node counts idle sessions.
//!
//! Members are asked for their wall clocks in turn; the difference is a metric, and is logged when it is too large.
//! Idle time follows the wall clock without its jumps. A node that joins with a wrong clock would find every session
//! idle, so it counts idle time as the members do that were there before it. What a wrong clock must not do to stamps
//! is refused where they arrive, by [`crate::session::Hlc`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::Members;
use crate::base::clock::{Now, SteadyClock};
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::ClockLimits;
use crate::membership::{Drift, MemberMessage};

/// How often some members are asked for their clocks.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How many members are asked at a time, in turn: in a large cluster each is asked less often.
const ASKED_MAX: usize = 16;
/// How often too large a drift of one member is logged, at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// See the module page.
#[derive(Debug)]
pub(super) struct Clocks {
    limits: ClockLimits,
    idle: SteadyClock,
    /// Of members in the roster.
    drifts: BTreeMap<NodeId, Drift>,
    next_ask: Duration,
    asked_last: Option<NodeId>,
    /// While joining: how many milliseconds each ready node's idle time is ahead of this node's. At most
    /// [`MEMBERS_MAX`] nodes.
    idle_ahead: BTreeMap<NodeId, i64>,
}

impl Clocks {
    /// The clocks of a node that starts now.
    pub(super) fn new(limits: ClockLimits, now: Now) -> Self {
        Self {
            limits,
            idle: SteadyClock::start(now),
            drifts: BTreeMap::new(),
            next_ask: Duration::ZERO,
            asked_last: None,
            idle_ahead: BTreeMap::new(),
        }
    }

    /// Time passes.
    pub(super) fn advance(&mut self, now: Now) {
        self.idle.advance(now);
    }

    /// The time by which this node counts idle sessions, in milliseconds since 1970.
    pub(super) fn idle_ms(&self, now: Now) -> u64 {
        self.idle.read(now)
    }

    /// The same, as it was when time last passed.
    pub(super) fn latest_idle_ms(&self) -> u64 {
        self.idle.latest()
    }

    /// This node is joining, and the idle time of the ready node `node` is `idle_ms`.
    pub(super) fn note_idle_time(&mut self, node: &NodeId, idle_ms: u64, now: Now) {
        let ahead = signed(idle_ms).saturating_sub(signed(self.idle.read(now)));
        if self.idle_ahead.len() < MEMBERS_MAX || self.idle_ahead.contains_key(node) {
            self.idle_ahead.insert(node.clone(), ahead);
        }
    }

    /// This node has joined: it counts idle time as most of the members do, if its own is further away than a clock
    /// may be.
    pub(super) fn settle_idle_time(&mut self) {
        let mut ahead: Vec<i64> = std::mem::take(&mut self.idle_ahead).into_values().collect();
        ahead.sort_unstable();
        let Some(median) = ahead.get(ahead.len() / 2) else {
            return;
        };
        if u128::from(median.unsigned_abs()) > self.limits.max_skew.as_millis() {
            tracing::warn!(
                ahead_ms = median,
                "this node's clock is wrong; idle time is counted as the members count it"
            );
            self.idle.follow_others(*median);
        }
    }

    /// Whom to ask for their clocks now: of `linked`, which are in the order of names, those whose turn it is.
    pub(super) fn whom_to_ask(&mut self, linked: impl Iterator<Item = NodeId>, now: Duration) -> Vec<NodeId> {
        if now < self.next_ask {
            return Vec::new();
        }
        self.next_ask = now + ASK_INTERVAL;
        let last = self.asked_last.take();
        let (later, earlier): (Vec<_>, Vec<_>) =
            linked.partition(|node| last.as_ref().is_none_or(|last| node > last));
        let turn: Vec<_> = later.into_iter().chain(earlier).take(ASKED_MAX).collect();
        self.asked_last = turn.last().cloned();
        turn
    }

    /// `node`, asked at `asked_ms` of this node's wall clock, answers that its own reads `theirs_ms`.
    pub(super) fn on_reply(&mut self, node: &NodeId, asked_ms: u64, theirs_ms: u64, now: Now) {
        let drift = self.drifts.entry(node.clone()).or_default();
        drift.measured(asked_ms, theirs_ms, now.wall_ms);
        if drift.is_to_be_logged(self.limits.max_drift_warning, LOG_INTERVAL, now.mono) {
            tracing::warn!(
                peer = %node,
                ahead_ms = drift.ahead_ms(),
                limit = ?self.limits.max_drift_warning,
                "its clock and this one differ by more than membership.max_drift_warning; set the clocks"
            );
        }
    }

    /// How many milliseconds `node`'s wall clock is ahead of this one, where it was measured.
    pub(super) fn ahead_ms(&self, node: &NodeId) -> Option<i64> {
        self.drifts.get(node)?.ahead_ms()
    }

    /// Drops what is kept of `node`.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.drifts.remove(node);
        self.idle_ahead.remove(node);
    }

    /// How many nodes something is kept of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.drifts.len().max(self.idle_ahead.len())
    }
}

impl Members {
    /// The time by which this node counts idle sessions, in milliseconds since 1970.
    #[must_use]
    pub fn idle_ms(&self, now: Now) -> u64 {
        self.clocks.idle_ms(now)
    }

    /// This node has joined: if its clock is wrong, it counts idle time as the members do.
    pub fn settle_idle_time(&mut self) {
        self.clocks.settle_idle_time();
    }

    /// How many milliseconds `node`'s wall clock is ahead of this one, where it was measured.
    #[must_use]
    pub fn clock_drift_ms(&self, node: &NodeId) -> Option<i64> {
        self.clocks.ahead_ms(node)
    }

    pub(super) fn send_clock_requests(&mut self, now: Now) {
        let linked = self.roster.iter().filter(|(_, member)| member.linked);
        let linked = linked.map(|(node, _)| node.clone());
        for node in self.clocks.whom_to_ask(linked, now.mono) {
            self.ask_clock(node, now);
        }
    }

    pub(super) fn ask_clock(&mut self, node: NodeId, now: Now) {
        let asked_ms = now.wall_ms;
        self.send(node, MemberMessage::ClockRequest { asked_ms });
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Now = Now {
        wall_ms: 1_700_000_000_000,
        mono: Duration::ZERO,
    };

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn clocks() -> Clocks {
        Clocks::new(ClockLimits::default(), BEGIN)
    }

    #[test]
    fn members_are_asked_in_turn_sixteen_at_a_time_every_five_seconds() {
        let mut clocks = clocks();
        let linked = || (0..20).map(|number| id(&format!("n{number:02}")));
        let first = clocks.whom_to_ask(linked(), Duration::ZERO);
        assert_eq!(first, linked().take(16).collect::<Vec<_>>());
        assert_eq!(clocks.whom_to_ask(linked(), Duration::from_secs(4)), []);
        let second = clocks.whom_to_ask(linked(), Duration::from_secs(5));
        let expected: Vec<_> = linked().skip(16).chain(linked().take(12)).collect();
        assert_eq!(second, expected);
    }

    #[test]
    fn a_reply_measures_how_far_a_clock_is_ahead() {
        let mut clocks = clocks();
        assert_eq!(clocks.ahead_ms(&id("a")), None);
        clocks.on_reply(&id("a"), BEGIN.wall_ms, BEGIN.wall_ms + 5000, BEGIN);
        assert_eq!(clocks.ahead_ms(&id("a")), Some(5000));
        clocks.forget(&id("a"));
        assert_eq!(clocks.ahead_ms(&id("a")), None);
    }

    #[test]
    fn a_node_whose_clock_is_wrong_counts_idle_time_as_most_members_do() {
        for (members_ahead, expected) in [
            (vec![], 0),
            (vec![59_000], 0), // within the skew a clock may have
            (vec![3_600_000, 3_601_000, -50], 3_600_000),
        ] {
            let mut clocks = clocks();
            for (number, ahead) in members_ahead.iter().enumerate() {
                let theirs = BEGIN.wall_ms.saturating_add_signed(*ahead);
                clocks.note_idle_time(&id(&format!("n{number}")), theirs, BEGIN);
            }
            clocks.settle_idle_time();
            assert_eq!(
                clocks.idle_ms(BEGIN),
                BEGIN.wall_ms + expected,
                "{members_ahead:?}"
            );
        }
    }
}
