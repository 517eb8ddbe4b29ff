//! How far the members' wall clocks are from this one's: asked now and then, shown as a metric, and said in the log
//! when it is too much. What a clock must not do to stamps is refused where they arrive, not here.
//!
//! Idle time: a node that joins with a wrong clock would find every session idle. So it counts by the time of the members
//! that are there already, and nobody takes another's word for a session being idle that by its own time is far from it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::Engine;
use crate::engine::sessions::expiry;
use crate::membership::{Drift, MemberMessage};
use crate::session::{Record, Touch};

/// How often some members are asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How many at a time, in turn: in a large cluster each is asked less often, and nobody has more to say.
const ASKED_MAX: usize = 16;
/// How often a drift that is too much is said, at most.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

/// The members' clocks.
#[derive(Debug, Default)]
pub(in crate::engine) struct Clocks {
    drifts: BTreeMap<NodeId, Drift>,
    next_ask: Duration,
    asked_last: Option<NodeId>,
    /// While joining: how many milliseconds each ready member's idle time is ahead of this node's.
    idle_ahead: BTreeMap<NodeId, i64>,
}

impl Engine {
    /// How many milliseconds `node`'s clock is ahead of this one's, where it was measured.
    #[must_use]
    pub fn clock_drift_ms(&self, node: &NodeId) -> Option<i64> {
        self.clocks.drifts.get(node)?.ahead_ms()
    }

    /// While joining: a ready member's idle time is `idle_ms`.
    pub(in crate::engine) fn note_idle_time(&mut self, node: &NodeId, idle_ms: u64, now: Now) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let ahead = signed(idle_ms).saturating_sub(signed(self.idle.read(now)));
        self.clocks.idle_ahead.insert(node.clone(), ahead);
    }

    /// Joined: counts idle time as most of the members do, if its own is further off than is believed of a clock.
    pub(in crate::engine) fn settle_idle_time(&mut self) {
        let mut ahead: Vec<i64> = std::mem::take(&mut self.clocks.idle_ahead)
            .into_values()
            .collect();
        ahead.sort_unstable();
        let Some(median) = ahead.get(ahead.len() / 2) else {
            return;
        };
        if median.unsigned_abs() > expiry::ms(self.config.clocks.max_skew) {
            tracing::warn!(
                ahead_ms = median,
                "this node's clock is wrong; counts idle time as the members do"
            );
            self.idle.follow_others(*median);
        }
    }

    /// The time by which this node counts idleness, in milliseconds since 1970.
    #[must_use]
    pub fn idle_ms(&self, now: Now) -> u64 {
        self.idle.read(now)
    }

    /// Whether `record`, which another node sent, says that a session is over which by this node's time is far from
    /// it: one of the two clocks is wrong, and a session is not ended on such a word.
    pub(in crate::engine) fn is_premature_expiry(&self, key: &SessionKey, record: &Record, now: Now) -> bool {
        let Some(known) = self.table.get(key).filter(|known| known.is_alive()) else {
            return false;
        };
        let skew_ms = expiry::ms(self.config.clocks.max_skew);
        record.lifecycle.expired >= known.last_touch
            && record.lifecycle.expired.map(|ended| ended.life) == known.life()
            && self
                .expires_ms(known)
                .is_none_or(|end| end > self.idle.read(now).saturating_add(skew_ms))
    }

    /// `node` found idle, since `ended`, a session that is not: most likely its idle lifetime was changed here and
    /// that was not known there. Unless one of the clocks is wrong, the session is used once more, which settles it
    /// for everybody; with a wrong clock that would go on for ever.
    pub(in crate::engine) fn refute_expiry(
        &mut self,
        node: &NodeId,
        key: &SessionKey,
        ended: Touch,
        now: Now,
    ) {
        let skew_ms = expiry::ms(self.config.clocks.max_skew);
        let near = |ahead_ms: i64| ahead_ms.unsigned_abs() <= skew_ms;
        if !self.clock_drift_ms(node).is_none_or(near) {
            return;
        }
        let last_touch = Touch {
            life: ended.life,
            at_ms: self
                .touch_ms(self.table.get(key), now)
                .max(ended.at_ms.saturating_add(1)),
        };
        let version = self.table.get(key).map(Record::version).unwrap_or_default();
        self.commit(key, Record::touch_only(last_touch), version, now);
        if let Some(record) = self.table.get(key).cloned() {
            self.push(node, key, &record);
        }
    }

    /// Asks members for the time, now and then.
    pub(in crate::engine) fn send_clock_requests(&mut self, now: Now) {
        if now.mono < self.clocks.next_ask {
            return;
        }
        self.clocks.next_ask = now.mono + ASK_INTERVAL;
        let roster = &self.roster;
        self.clocks.drifts.retain(|node, _| roster.get(node).is_some());
        let linked = roster.iter().filter(|(_, member)| member.linked);
        let last = self.clocks.asked_last.take();
        let (later, earlier): (Vec<_>, Vec<_>) = linked
            .map(|(node, _)| node.clone())
            .partition(|node| last.as_ref().is_none_or(|last| node > last));
        let turn: Vec<_> = later.into_iter().chain(earlier).take(ASKED_MAX).collect();
        self.clocks.asked_last = turn.last().cloned();
        for node in turn {
            self.send_member_message(
                &node,
                &MemberMessage::ClockRequest {
                    asked_ms: now.wall_ms,
                },
            );
        }
    }

    /// `node` says what its clock shows.
    pub(in crate::engine) fn on_clock_reply(&mut self, node: &NodeId, asked_ms: u64, now_ms: u64, now: Now) {
        if self.roster.get(node).is_none() {
            return;
        }
        let drift = self.clocks.drifts.entry(node.clone()).or_default();
        drift.measured(asked_ms, now_ms, now.wall_ms);
        if drift.is_to_be_said(self.config.clocks.max_drift_warning, SAY_INTERVAL, now.mono) {
            tracing::warn!(
                peer = %node,
                ahead_ms = drift.ahead_ms(),
                limit = ?self.config.clocks.max_drift_warning,
                "its clock and this one differ by more than membership.max_drift_warning; set the clocks"
            );
        }
    }
}
