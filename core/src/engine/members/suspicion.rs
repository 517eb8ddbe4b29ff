//! Whether a member is gone whose address refuses connections, or that is linked and says nothing. The first nearly
//! always is a process that died, the second one that stands still. But something between two nodes may refuse in a
//! member's name, or keep what it says, so others are asked first, who answer within a moment: a process that died has
//! closed its links to them as well, and one that stands still says nothing to them either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::Engine;
use crate::membership::{Identity, MemberMessage};

/// How many others are asked.
const ASKED_MAX: usize = 3;
/// How long a link to the doubted member must stay up before that counts as hearing it: the end of a process is
/// known to everybody sooner.
const STAYS: Duration = Duration::from_millis(100);
/// How long to wait for the answers.
const PATIENCE: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Refused,
    Silent,
}

#[derive(Debug)]
struct Suspicion {
    identity: Identity,
    why: Why,
    asked: BTreeSet<NodeId>,
    until: Duration,
}

#[derive(Debug)]
struct Question {
    by: NodeId,
    about: NodeId,
    incarnation: u64,
    until: Duration,
}

/// Members in doubt here, and those others asked about.
#[derive(Debug, Default)]
pub(in crate::engine) struct Suspicions {
    own: BTreeMap<NodeId, Suspicion>,
    questions: Vec<Question>,
}

impl Engine {
    /// `identity`, which is `node`, refuses connections. Asks others, or concludes at once when there are none.
    pub(in crate::engine) fn suspect_refused(&mut self, node: &NodeId, identity: Identity, now: Now) {
        self.suspicion(node, identity, Why::Refused, now);
    }

    /// `identity`, which is `node`, is linked and says nothing. The same.
    pub(in crate::engine) fn suspect_silent(&mut self, node: &NodeId, identity: Identity, now: Now) {
        self.suspicion(node, identity, Why::Silent, now);
    }

    fn suspicion(&mut self, node: &NodeId, identity: Identity, why: Why, now: Now) {
        let others = self
            .roster
            .active()
            .filter(|(other, m)| m.linked && *other != node);
        let (before, after): (Vec<_>, Vec<_>) = others
            .map(|(other, _)| other.clone())
            .partition(|other| other < node);
        let asked: BTreeSet<_> = after.into_iter().chain(before).take(ASKED_MAX).collect();
        if asked.is_empty() {
            self.confirm_down(node, &identity, why, now);
            return;
        }
        let (name, incarnation) = (identity.node.clone(), identity.incarnation);
        let question = match why {
            Why::Refused => MemberMessage::Missed {
                node: name.into(),
                incarnation,
            },
            Why::Silent => MemberMessage::Silent {
                node: name.into(),
                incarnation,
            },
        };
        for other in &asked {
            self.send_member_message(other, &question);
        }
        let until = now.mono + PATIENCE;
        self.suspicions.own.insert(
            node.clone(),
            Suspicion {
                identity,
                why,
                asked,
                until,
            },
        );
    }

    /// `by` asks whether this run of `about` is still heard here.
    pub(in crate::engine) fn on_probe_refused(
        &mut self,
        by: &NodeId,
        about: &str,
        incarnation: u64,
        now: Now,
    ) {
        let Ok(about) = NodeId::parse(about) else { return };
        let linked = self
            .roster
            .get(&about)
            .is_some_and(|member| member.linked && member.identity.incarnation == incarnation);
        if !linked {
            self.answer(by, &about, incarnation, false);
        } else if self.suspicions.questions.len() < MEMBERS_MAX {
            self.suspicions.questions.push(Question {
                by: by.clone(),
                about,
                incarnation,
                until: now.mono + STAYS,
            });
        } // Else it is not answered, and the asker decides for itself.
    }

    /// `by` asks whether this run of `about`, which says nothing to it, was heard here lately.
    pub(in crate::engine) fn on_probe_silent(
        &mut self,
        by: &NodeId,
        about: &str,
        incarnation: u64,
        now: Now,
    ) {
        let Ok(about) = NodeId::parse(about) else { return };
        let known = self.roster.get(&about);
        let same = known.is_some_and(|member| member.identity.incarnation == incarnation);
        let alive = same && self.heard_lately(&about, now);
        self.answer(by, &about, incarnation, alive);
    }

    /// `by` says whether it still hears this run of `about`.
    pub(in crate::engine) fn on_probe_reply(
        &mut self,
        by: &NodeId,
        about: &str,
        incarnation: u64,
        alive: bool,
        now: Now,
    ) {
        let Ok(about) = NodeId::parse(about) else { return };
        let Some(suspicion) = self.suspicions.own.get_mut(&about) else {
            return;
        };
        if suspicion.identity.incarnation != incarnation || !suspicion.asked.remove(by) {
            return;
        }
        if alive {
            tracing::warn!(peer = %about, heard_by = %by, why = ?suspicion.why, "cannot be heard from here; another member hears it");
            self.suspicions.own.remove(&about);
        } else if suspicion.asked.is_empty() {
            let (identity, why) = (suspicion.identity.clone(), suspicion.why);
            self.confirm_down(&about, &identity, why, now);
        }
    }

    /// The link to `node` broke: whoever asked about it is told.
    pub(in crate::engine) fn answer_probes_down(&mut self, node: &NodeId) {
        let (gone, left) = std::mem::take(&mut self.suspicions.questions)
            .into_iter()
            .partition(|question| question.about == *node);
        self.suspicions.questions = left;
        for question in gone {
            self.answer(&question.by, node, question.incarnation, false);
        }
    }

    /// There is a link to `node`, or it is down: nothing is left to doubt.
    pub(in crate::engine) fn clear_suspicion(&mut self, node: &NodeId) {
        self.suspicions.own.remove(node);
    }

    /// Answers and concludes what was waited for long enough.
    pub(in crate::engine) fn progress_suspicions(&mut self, now: Now) {
        let (due, left) = std::mem::take(&mut self.suspicions.questions)
            .into_iter()
            .partition(|question| question.until <= now.mono);
        self.suspicions.questions = left;
        for question in due {
            self.answer(&question.by, &question.about, question.incarnation, true);
        }
        let late = self
            .suspicions
            .own
            .iter()
            .filter(|(_, suspicion)| suspicion.until <= now.mono);
        let late: Vec<_> = late
            .map(|(node, suspicion)| (node.clone(), suspicion.identity.clone(), suspicion.why))
            .collect();
        for (node, identity, why) in late {
            self.confirm_down(&node, &identity, why, now);
        }
    }

    fn answer(&mut self, to: &NodeId, about: &NodeId, incarnation: u64, alive: bool) {
        self.send_member_message(
            to,
            &MemberMessage::Heard {
                node: about.as_str().to_owned(),
                incarnation,
                alive,
            },
        );
    }

    fn confirm_down(&mut self, node: &NodeId, identity: &Identity, why: Why, now: Now) {
        self.suspicions.own.remove(node);
        let member = self.roster.get(node);
        let Some(member) = member.filter(|member| member.active && member.identity == *identity) else {
            return;
        };
        match why {
            Why::Refused if member.linked => return,
            Why::Refused => {
                tracing::warn!(peer = %node, "its address refuses connections: the process is gone");
            }
            Why::Silent if !member.linked || self.heard_lately(node, now) => return,
            Why::Silent => {
                tracing::warn!(peer = %node, "linked, but nothing was heard of it for nearly membership.drop_time");
            }
        }
        let todo = self.swim.declare_down(identity);
        self.carry_out(todo, now);
    }
}
