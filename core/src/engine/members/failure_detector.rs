//! The failure detector of linked members: it finds those that send nothing.
//!
//! SWIM finds silent members too, when it is a member's turn to be probed, which takes longer the more members there
//! are. Where few members are linked each of them is watched here as well, so that silence is always found within
//! `drop_time`. A silent member is asked for its clock first, which it answers at once. What follows from silence is
//! decided by [`super::suspicion`], which asks other members.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::id::NodeId;

/// How many linked members are watched. Where there are more, all of them are left to SWIM, whose cost does not grow
/// with their number.
const WATCHED_MAX: usize = 32;
/// A `drop_time` below this leaves no room for requests and replies, so nobody is watched.
const DROP_TIME_LEAST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// Silence before this moment does not count.
    since: Duration,
    /// When the member was last asked for its clock.
    asked: Duration,
}

/// What to do about a silent member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// It sent nothing for a third of `drop_time`: ask it for its clock.
    Ask(NodeId),
    /// It sent nothing for five sixths of `drop_time`: suspect it. The rest is for others to object.
    Suspect(NodeId),
}

/// Who is watched, and when each member was last heard. All moments are on the monotonic clock.
#[derive(Debug)]
pub(super) struct FailureDetector {
    drop_time: Duration,
    watched: BTreeMap<NodeId, Watch>,
    /// When something last arrived from each member. [`super::Members`] notes and forgets the members of its roster
    /// only.
    last_heard: BTreeMap<NodeId, Duration>,
    /// When [`Self::check`] last ran.
    checked: Duration,
}

impl FailureDetector {
    /// A failure detector that finds silence within `drop_time`.
    pub(super) const fn new(drop_time: Duration) -> Self {
        Self {
            drop_time,
            watched: BTreeMap::new(),
            last_heard: BTreeMap::new(),
            checked: Duration::ZERO,
        }
    }

    /// The link to `node` is up: from now on it is expected to send something.
    pub(super) fn watch(&mut self, node: &NodeId, now: Duration) {
        let watch = Watch {
            since: now,
            asked: now,
        };
        self.watched.insert(node.clone(), watch);
    }

    /// Something arrived from `node`.
    pub(super) fn heard(&mut self, node: &NodeId, now: Duration) {
        match self.last_heard.get_mut(node) {
            Some(last) => *last = now,
            None => {
                self.last_heard.insert(node.clone(), now);
            }
        }
    }

    /// Whether anything arrived from `node` within the last half of `drop_time`.
    pub(super) fn heard_lately(&self, node: &NodeId, now: Duration) -> bool {
        self.last_heard
            .get(node)
            .is_some_and(|last| now.saturating_sub(*last) < self.drop_time / 2)
    }

    /// Whom to ask and whom to suspect now, in the order of names. `is_expected` says whether a member is linked and
    /// active, so that something is to be expected of it; others are not watched any longer.
    pub(super) fn check(&mut self, is_expected: impl Fn(&NodeId) -> bool, now: Duration) -> Vec<Silence> {
        let was_paused = now.saturating_sub(self.checked) > self.drop_time / 6;
        self.checked = now;
        self.watched.retain(|node, _| is_expected(node));
        if was_paused {
            // This process, or its whole machine, stood still: nobody is to blame for what it did not receive.
            self.watched.values_mut().for_each(|watch| watch.since = now);
        }
        if self.drop_time < DROP_TIME_LEAST || self.watched.len() > WATCHED_MAX {
            return Vec::new();
        }
        let mut silences = Vec::new();
        for (node, watch) in &mut self.watched {
            let last = self.last_heard.get(node).copied().unwrap_or_default();
            let silent_for = now.saturating_sub(last.max(watch.since));
            if silent_for >= self.drop_time * 5 / 6 {
                watch.since = now; // not again before it was silent for as long again
                silences.push(Silence::Suspect(node.clone()));
            } else if silent_for >= self.drop_time / 3
                && now.saturating_sub(watch.asked) >= self.drop_time / 6
            {
                watch.asked = now;
                silences.push(Silence::Ask(node.clone()));
            }
        }
        silences
    }

    /// Drops what is kept of `node`.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.watched.remove(node);
        self.last_heard.remove(node);
    }

    /// How many nodes something is kept of.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.watched.len().max(self.last_heard.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROP_TIME: Duration = Duration::from_secs(3);

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Checks every 50 ms until `until_ms`; returns what was found, and when.
    fn run(detector: &mut FailureDetector, from_ms: u64, until_ms: u64) -> Vec<(u64, Silence)> {
        let times = (from_ms..=until_ms).step_by(50);
        let found = times.flat_map(|at| {
            let found = detector.check(|_| true, ms(at));
            found.into_iter().map(move |silence| (at, silence))
        });
        found.collect()
    }

    #[test]
    fn a_silent_member_is_asked_after_a_third_and_suspected_after_five_sixths_of_drop_time() {
        let mut detector = FailureDetector::new(DROP_TIME);
        run(&mut detector, 0, 10_000);
        detector.watch(&id("a"), ms(10_000));
        let found = run(&mut detector, 10_050, 13_000);
        let asked = [11_000, 11_500, 12_000].map(|at| (at, Silence::Ask(id("a"))));
        let suspected = (12_500, Silence::Suspect(id("a")));
        assert_eq!(found, [&asked[..], &[suspected]].concat());
    }

    #[test]
    fn whoever_sends_something_is_not_suspected() {
        let mut detector = FailureDetector::new(DROP_TIME);
        detector.watch(&id("a"), ms(0));
        for at in (0..20_000).step_by(900) {
            detector.heard(&id("a"), ms(at));
            assert_eq!(run(&mut detector, at, at + 850), []);
            assert!(detector.heard_lately(&id("a"), ms(at + 850)));
        }
        assert!(!detector.heard_lately(&id("a"), ms(30_000)));
    }

    #[test]
    fn a_process_that_stood_still_blames_nobody() {
        let mut detector = FailureDetector::new(DROP_TIME);
        detector.watch(&id("a"), ms(0));
        run(&mut detector, 0, 500);
        assert_eq!(detector.check(|_| true, ms(60_000)), []);
        let found = run(&mut detector, 60_050, 63_000);
        assert_eq!(found.last(), Some(&(62_500, Silence::Suspect(id("a")))));
    }

    #[test]
    fn members_that_are_not_expected_to_send_are_not_watched() {
        let mut detector = FailureDetector::new(DROP_TIME);
        detector.watch(&id("a"), ms(0));
        for at in (0..10_000).step_by(50) {
            assert_eq!(detector.check(|_| false, ms(at)), []);
        }
        assert_eq!(detector.len(), 0);
    }

    #[test]
    fn more_members_than_are_watched_are_all_left_to_swim() {
        let mut detector = FailureDetector::new(DROP_TIME);
        for number in 0..=WATCHED_MAX {
            detector.watch(&id(&format!("n{number}")), ms(0));
        }
        assert_eq!(run(&mut detector, 0, 10_000), []);
        detector.forget(&id("n0"));
        let found = run(&mut detector, 10_050, 10_050);
        assert_eq!(found.len(), WATCHED_MAX);
    }
}
