//! Members that are linked and say nothing. SWIM finds them too, when the turn of one comes to be probed; where there
//! are few members each is watched, so that silence is found within `drop_time` always and not only mostly.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::Engine;
use crate::membership::MemberMessage;

/// How many linked members are watched. Where there are more, all are left to SWIM, which costs the same whatever
/// their number.
const WATCHED_MAX: usize = 32;
/// A `drop_time` below this leaves no room for questions and answers.
const DROP_TIME_LEAST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    /// FailureDetector from before counts for nothing.
    since: Duration,
    asked: Duration,
}

/// Members that are watched.
#[derive(Debug, Default)]
pub(in crate::engine) struct FailureDetector {
    watched: BTreeMap<NodeId, Watch>,
    looked: Duration,
}

impl Engine {
    /// The link to `node` is up: from now on it is expected to say something.
    pub(in crate::engine) fn watch(&mut self, node: &NodeId, now: Now) {
        let since = now.mono;
        self.failure_detector
            .watched
            .insert(node.clone(), Watch { since, asked: since });
    }

    /// Whether anything was heard of `node` within the last half of `drop_time`.
    pub(in crate::engine) fn heard_lately(&self, node: &NodeId, now: Now) -> bool {
        self.last_heard(node)
            .is_some_and(|at| now.mono.saturating_sub(at) < self.config.swim.drop_time / 2)
    }

    /// For how long `node` has said nothing, as far as it was expected to.
    pub(in crate::engine) fn silent_for(&self, node: &NodeId, now: Now) -> Duration {
        let since = self.failure_detector.watched.get(node).map(|watch| watch.since);
        let from = since.max(self.last_heard(node)).unwrap_or(now.mono);
        now.mono.saturating_sub(from)
    }

    /// After how much silence a member is doubted: the rest of `drop_time` is for others to object.
    pub(in crate::engine) fn silence_limit(&self) -> Duration {
        self.config.swim.drop_time * 5 / 6
    }

    /// Asks members that have said nothing for a while, and doubts those that do not answer.
    pub(in crate::engine) fn check_silence(&mut self, now: Now) {
        let drop_time = self.config.swim.drop_time;
        let was_paused = now.mono.saturating_sub(self.failure_detector.looked) > drop_time / 6;
        self.failure_detector.looked = now.mono;
        let roster = &self.roster;
        self.failure_detector.watched.retain(|node, _| {
            roster
                .get(node)
                .is_some_and(|member| member.linked && member.active && !member.leaving)
        });
        if was_paused {
            // This node, or its whole machine: what it did not hear meanwhile, nobody can be blamed for.
            self.failure_detector
                .watched
                .values_mut()
                .for_each(|watch| watch.since = now.mono);
        }
        if drop_time < DROP_TIME_LEAST || self.failure_detector.watched.len() > WATCHED_MAX {
            return;
        }
        let watched: Vec<_> = self.failure_detector.watched.keys().cloned().collect();
        for node in watched {
            let silent = self.silent_for(&node, now);
            let limit = self.silence_limit();
            let Some(watch) = self.failure_detector.watched.get_mut(&node) else {
                continue;
            };
            if silent >= limit {
                watch.since = now.mono; // not again before it was silent for as long again
                if let Some(member) = self.roster.get(&node) {
                    let identity = member.identity.clone();
                    self.suspect_silent(&node, identity, now);
                }
            } else if silent >= drop_time / 3 && now.mono.saturating_sub(watch.asked) >= drop_time / 6 {
                watch.asked = now.mono;
                let asked_ms = now.wall_ms;
                self.send_member_message(&node, &MemberMessage::ClockRequest { asked_ms });
            }
        }
    }

    fn last_heard(&self, node: &NodeId) -> Option<Duration> {
        self.inbound.get(node)?.values().map(|inbound| inbound.at).max()
    }
}
