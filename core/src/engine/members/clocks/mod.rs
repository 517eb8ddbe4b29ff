//! The clocks of this node and of the members, and the cluster's time: what changes are stamped with and idle sessions
//! are counted by.
//!
//! The cluster's time runs with the monotonic clock. A node takes it from the members when it joins; the first node
//! takes what most wall clocks say. Members that drift apart are brought together slowly, and all of them follow what
//! most wall clocks say more slowly still. So a wall clock that is set stamps nothing wrongly and ends no session.
//!
//! What remains are parts of a cluster that began apart, with clocks that differ by more than `max_skew`: they refuse
//! each other's stamps. By [`rule`] one of the two times stands; nodes that kept the other one correct it, which is
//! [`crate::engine`]'s part, see [`Correction`]. Refused stamps are counted by [`crate::session::Hlc`]'s callers, and
//! answered here.

mod api;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::{Now, SteadyClock};
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::ClockLimits;
use crate::membership::{ClusterTime, Offset};
use rule::{Kept, Scale, Verdict};

/// How often some members are asked for their clocks.
const ASK_INTERVAL: Duration = Duration::from_secs(5);
/// How many members are asked at a time, in turn: in a large cluster each is asked less often.
const ASKED_MAX: usize = 16;
/// How often too large a drift of one member is logged, at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How often one peer is told that its stamps are refused, at most.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);
/// How often clocks are compared. A wall clock that was set is compared at once.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// For how long another time has to stand against this node's before that is corrected: some readings may be on their way.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// How long the first node of a cluster waits for the clocks of those that are joining as well.
const FIRST_WAITS: Duration = Duration::from_secs(1);
/// A change of the wall clock by more than this is somebody setting it, in milliseconds.
const SET_MS: i64 = 1000;
/// Readings are no better than this, in milliseconds: what is nearer is not approached.
const TIME_PRECISION_MS: u64 = 20;
/// By how much times of members that agree may differ, in milliseconds. Between busy nodes a reading is off by as much as an
/// answer is late, and each takes readings of its own.
pub(in crate::engine) const TIMES_APART_MS: u64 = 100;
/// By one part in so many of the time that passes the times of members are brought together,
const TOGETHER_PART: i64 = 10;
/// and brought to what wall clocks say. Idle lifetimes are off by as much meanwhile.
const WALL_PART: i64 = 200;
/// Times that differ by less are never corrected at once, whatever `max_skew` is: a reading may be wrong by as much.
const CORRECTED_MS: i64 = 5000;

/// What is known of one member's clocks, as offsets from this node's monotonic clock.
#[derive(Debug, Default)]
struct Reading {
    wall: Offset,
    time: Offset,
    scale: Option<Scale>,
    /// The cluster's time by the member's announcements, until it is measured.
    announced_ms: Option<i64>,
    /// When it was first asked.
    asked: Option<Duration>,
    /// When a drift was last logged.
    logged: Option<Duration>,
    /// When it was last told that its stamps are refused.
    refused: Option<Duration>,
}

impl Reading {
    fn clocks(&self) -> rule::Clocks {
        let time = self.time.ahead_ms().or(self.announced_ms);
        rule::Clocks {
            wall_ms: self.wall.ahead_ms(),
            kept: time.map(|time_ms| Kept {
                time_ms,
                scale: self.scale,
            }),
        }
    }
}

/// This node's time was wrong, and is set: what it stamped is to be stamped anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// What the time read before minus what it reads now, in milliseconds.
    pub ahead_ms: i64,
    /// What was stamped up to this millisecond was right: the node had not parted from the others yet.
    pub since_ms: u64,
    /// The tags of the nodes that keep the time which stands: what they stamped was right.
    pub right: BTreeSet<u64>,
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Clocks {
    limits: ClockLimits,
    time: SteadyClock,
    scale: Scale,
    /// Whether the node does not keep the cluster's time yet, but takes it.
    joining: bool,
    /// Of members in the roster.
    readings: BTreeMap<NodeId, Reading>,
    next_ask: Duration,
    asked_last: Option<NodeId>,
    next_look: Duration,
    slewed: Duration,
    /// The offset of this node's wall clock when time last passed.
    wall_ms: i64,
    /// By how much this node's wall clock is ahead of the right time, while it is wrong.
    wrong_ms: Option<i64>,
    /// The time that stands against this node's, and since when.
    contradicted: Option<(Duration, Kept)>,
    /// When this node's time last was the cluster's and somebody else kept it, in milliseconds since 1970; 0 for never.
    agreed_ms: u64,
    /// How often peers said that they refused this node's stamps.
    refusals: u64,
}

impl Clocks {
    /// The clocks of a node that starts now; `id` numbers the time scale, should it begin one.
    pub(super) fn new(limits: ClockLimits, id: u64, now: Now) -> Self {
        let scale = Scale {
            id,
            began_ms: signed(now.mono_ms()),
        };
        Self::with_time(limits, SteadyClock::start(now), scale, now)
    }

    fn with_time(limits: ClockLimits, time: SteadyClock, scale: Scale, now: Now) -> Self {
        Self {
            limits,
            time,
            scale,
            joining: true,
            readings: BTreeMap::new(),
            next_ask: Duration::ZERO,
            asked_last: None,
            next_look: now.mono,
            slewed: now.mono,
            wall_ms: now.wall_offset_ms(),
            wrong_ms: None,
            contradicted: None,
            agreed_ms: 0,
            refusals: 0,
        }
    }

    /// The clocks of the same node when it joins anew: its time goes on until it takes that of the members.
    pub(super) fn begin_again(&self, now: Now) -> Self {
        Self {
            refusals: self.refusals,
            ..Self::with_time(self.limits, self.time, self.scale, now)
        }
    }

    /// Time passes. `is_there` says of which members the clocks count.
    pub(super) fn advance(&mut self, is_there: impl Fn(&NodeId) -> bool, now: Now) {
        self.time.advance(now);
        let wall_ms = now.wall_offset_ms();
        let by_ms = wall_ms.saturating_sub(std::mem::replace(&mut self.wall_ms, wall_ms));
        let set = by_ms.saturating_abs() > SET_MS;
        if set {
            tracing::warn!(by_ms, "this node's wall clock was set");
        }
        if set || now.mono >= self.next_look {
            self.next_look = now.mono + LOOK_INTERVAL;
            self.look(is_there, now);
        }
    }

    /// The cluster's time, in milliseconds since 1970.
    pub(super) fn time_ms(&self, now: Now) -> u64 {
        self.time.read(now)
    }

    /// The same, as it was when time last passed.
    pub(super) fn latest_time_ms(&self) -> u64 {
        self.time.latest()
    }

    /// What this node tells others of its time.
    pub(super) fn told(&self, now: Now) -> Option<ClusterTime> {
        let age_ms = signed(now.mono_ms()).saturating_sub(self.scale.began_ms);
        (!self.joining).then(|| ClusterTime {
            now_ms: self.time.read(now),
            scale: self.scale.id,
            age_ms: u64::try_from(age_ms).unwrap_or(0),
        })
    }

    /// The ready node `node` announces that it is `time_ms` for it. Returns by how many milliseconds the time was set.
    pub(super) fn on_announced(&mut self, node: &NodeId, time_ms: u64, now: Now) -> i64 {
        if time_ms >> 48 != 0 || self.readings.len() >= MEMBERS_MAX && !self.readings.contains_key(node) {
            return 0;
        }
        let announced = signed(time_ms).saturating_sub(signed(now.mono_ms()));
        self.readings.entry(node.clone()).or_default().announced_ms = Some(announced);
        if self.joining { self.take_time() } else { 0 }
    }

    /// While joining: the time is the one that stands among those of the members. Returns by how many milliseconds it was set.
    fn take_time(&mut self) -> i64 {
        let all: Vec<_> = self.readings.values().map(Reading::clocks).collect();
        let Some(kept) = rule::standing(&all, self.reach_ms().max(CORRECTED_MS)) else {
            return 0;
        };
        let by_ms = kept.time_ms.saturating_sub(self.time.offset_ms());
        let is_off = by_ms.unsigned_abs() > TIME_PRECISION_MS;
        let by_ms = if is_off { by_ms } else { 0 };
        self.time.step(by_ms);
        if by_ms.saturating_abs() > SET_MS {
            tracing::info!(by_ms, "takes the time of the members");
        }
        self.follow(kept.scale);
        by_ms
    }

    /// This node's time is on `scale`. The age of a scale it is on already is known best here.
    fn follow(&mut self, scale: Option<Scale>) {
        if let Some(scale) = scale.filter(|scale| scale.id != self.scale.id) {
            self.scale = scale;
        }
    }

    /// This node has joined and keeps the time from now on. The first node of a cluster begins with what most wall
    /// clocks say; one that has a part of a table keeps the time which that was stamped with, until the members correct
    /// it. Returns by how many milliseconds the time was set.
    pub(super) fn settle(&mut self, has_table: bool, now: Now) -> i64 {
        self.joining = false;
        self.next_look = now.mono;
        let kept = self
            .readings
            .values()
            .any(|reading| reading.clocks().kept.is_some());
        let mut walls: Vec<_> = self
            .readings
            .values()
            .filter_map(|reading| reading.wall.ahead_ms())
            .collect();
        walls.push(now.wall_offset_ms());
        if has_table || kept || walls.len() <= 2 {
            return 0;
        }
        let right = rule::majority(&walls, self.reach_ms());
        let by_ms = right.map_or(0, |right| right.saturating_sub(self.time.offset_ms()));
        self.time.step(by_ms);
        by_ms
    }

    /// Whether the clocks of all `linked` nodes were read, or were waited for long enough.
    pub(super) fn are_known(&self, mut linked: impl Iterator<Item = NodeId>, now: Duration) -> bool {
        linked.all(|node| {
            self.readings.get(&node).is_none_or(|reading| {
                let asked = reading.asked.unwrap_or(now);
                reading.wall.ahead_ms().is_some() || now.saturating_sub(asked) >= FIRST_WAITS
            })
        })
    }

    /// Whether a time that is set by `by_ms` is another one, so that stamps on the former are no stamps on this.
    pub(super) fn is_another(&self, by_ms: i64) -> bool {
        by_ms.unsigned_abs() > self.reach_ms().unsigned_abs()
    }

    fn reach_ms(&self) -> i64 {
        i64::try_from(self.limits.max_skew.as_millis()).unwrap_or(i64::MAX)
    }

    /// Compares the clocks of all that are there.
    fn look(&mut self, is_there: impl Fn(&NodeId) -> bool, now: Now) {
        let there = self.readings.iter().filter(|(node, _)| is_there(node));
        let others: Vec<_> = there.map(|(_, reading)| reading.clocks()).collect();
        let own_wall = now.wall_offset_ms();
        let mut walls: Vec<_> = others.iter().filter_map(|clocks| clocks.wall_ms).collect();
        walls.push(own_wall);
        let reach = self.reach_ms();
        self.judge_wall(rule::wall_error(own_wall, &walls, self.time.offset_ms(), reach));
        if self.joining {
            return;
        }
        let scale = Some(self.scale);
        let own = rule::Clocks {
            wall_ms: Some(own_wall),
            kept: Some(Kept {
                time_ms: self.time.offset_ms(),
                scale,
            }),
        };
        match rule::judge(own, &others, reach.max(CORRECTED_MS)) {
            Verdict::Alone => self.contradicted = None,
            Verdict::Agreed(scale) => {
                self.contradicted = None;
                let mine = self.time.offset_ms();
                let mut kept = others.iter().filter_map(|clocks| clocks.kept);
                if kept.any(|kept| kept.time_ms.abs_diff(mine) <= reach.unsigned_abs()) {
                    self.agreed_ms = self.time.read(now);
                }
                self.follow(scale);
            }
            Verdict::Contradicted(kept) => {
                let since = self.contradicted.map_or(now.mono, |(since, _)| since);
                self.contradicted = Some((since, kept));
            }
        }
        self.slew(&others, &walls, now.mono);
    }

    /// Brings this node's time nearer to that of the members it agrees with, and to what most wall clocks say.
    fn slew(&mut self, others: &[rule::Clocks], walls: &[i64], now: Duration) {
        let passed = now.saturating_sub(self.slewed);
        if passed < LOOK_INTERVAL {
            return; // clocks were compared ahead of time; it counts together with what comes
        }
        self.slewed = now;
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let (mine, reach) = (self.time.offset_ms(), self.reach_ms());
        let times = others
            .iter()
            .filter_map(|clocks| clocks.kept)
            .map(|kept| kept.time_ms);
        let near = times.filter(|time| time.abs_diff(mine) <= reach.unsigned_abs());
        let together = rule::median(near.chain([mine]).collect());
        for (target, part) in [
            (together, TOGETHER_PART),
            (rule::majority(walls, reach), WALL_PART),
        ] {
            if let Some(target) =
                target.filter(|target| target.abs_diff(self.time.offset_ms()) > TIME_PRECISION_MS)
            {
                self.time.slew(target, passed / part);
            }
        }
    }

    fn judge_wall(&mut self, wrong_ms: Option<i64>) {
        match (self.wrong_ms, wrong_ms) {
            (None, Some(ahead_ms)) => tracing::error!(
                ahead_ms,
                "this node's wall clock is wrong: most members, or the cluster's time, say so; set it"
            ),
            (Some(_), None) => tracing::info!("this node's wall clock is right again"),
            _ => {}
        }
        self.wrong_ms = wrong_ms;
    }

    /// Sets the time to the one that stands against it, once that is settled.
    pub(super) fn correct(&mut self, now: Now) -> Option<Correction> {
        let (since, kept) = self.contradicted?;
        let scale = kept.scale?; // until it is known it cannot be told what was stamped wrongly
        if now.mono.saturating_sub(since) < SETTLED_AFTER {
            return None;
        }
        self.contradicted = None;
        let together = scale.id == self.scale.id;
        let ahead_ms = self.time.offset_ms().saturating_sub(kept.time_ms);
        let since_ms = if together { self.agreed_ms } else { 0 };
        let is_right = |reading: &Reading| reading.scale.is_some_and(|theirs| theirs.id == scale.id);
        let right = self.readings.iter().filter(|(_, reading)| is_right(reading));
        let right = right.map(|(node, _)| node.tag()).collect();
        self.time.step(ahead_ms.saturating_neg());
        self.follow(Some(scale));
        self.agreed_ms = 0;
        Some(Correction {
            ahead_ms,
            since_ms,
            right,
        })
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

    /// `node` is being asked for its clocks.
    pub(super) fn note_asked(&mut self, node: &NodeId, now: Duration) {
        self.readings
            .entry(node.clone())
            .or_default()
            .asked
            .get_or_insert(now);
    }

    /// `node`, asked at `asked_ms` of this node's monotonic clock, answers what its wall clock and its time read. Returns
    /// by how many milliseconds the time was set.
    pub(super) fn on_reply(
        &mut self,
        node: &NodeId,
        asked_ms: u64,
        wall_ms: u64,
        time: Option<ClusterTime>,
        now: Now,
    ) -> i64 {
        let reading = self.readings.entry(node.clone()).or_default();
        reading.wall.measured(asked_ms, wall_ms, now.mono_ms());
        match time.filter(|time| time.now_ms >> 48 == 0) {
            Some(time) => {
                reading.time.measured(asked_ms, time.now_ms, now.mono_ms());
                reading.scale = Some(Scale {
                    id: time.scale,
                    began_ms: signed(now.mono_ms()).saturating_sub(signed(time.age_ms)),
                });
            }
            None => {
                reading.time = Offset::default();
                (reading.announced_ms, reading.scale) = (None, None);
            }
        }
        let ahead = reading
            .wall
            .ahead_ms()
            .map(|wall| wall.saturating_sub(now.wall_offset_ms()));
        let limit = self.limits.max_drift_warning;
        let due = reading
            .logged
            .is_none_or(|logged| now.mono.saturating_sub(logged) >= LOG_INTERVAL);
        if let Some(ahead_ms) =
            ahead.filter(|ahead| due && u128::from(ahead.unsigned_abs()) > limit.as_millis())
        {
            reading.logged = Some(now.mono);
            tracing::warn!(
                peer = %node, ahead_ms, ?limit,
                "its clock and this one differ by more than membership.max_drift_warning; set the clocks"
            );
        }
        self.next_look = now.mono;
        if self.joining { self.take_time() } else { 0 }
    }

    /// A change of `node` was refused. Says whether to tell it now.
    pub(super) fn is_refusal_told(&mut self, node: &NodeId, now: Duration) -> bool {
        let Some(reading) = self.readings.get_mut(node) else {
            return false; // it is asked for its clocks when a link is up, so it will be known
        };
        let due = reading
            .refused
            .is_none_or(|told| now.saturating_sub(told) >= REFUSAL_INTERVAL);
        if due {
            reading.refused = Some(now);
        }
        due
    }

    /// How many milliseconds `node`'s wall clock is ahead of this one, where it was measured.
    pub(super) fn ahead_ms(&self, node: &NodeId) -> Option<i64> {
        let wall = self.readings.get(node)?.wall.ahead_ms()?;
        Some(wall.saturating_sub(self.wall_ms))
    }

    /// Drops what is kept of `node`.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.readings.remove(node);
    }

    /// How many nodes something is kept of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
