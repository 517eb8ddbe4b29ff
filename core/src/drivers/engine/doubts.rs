//! Whether a member is gone whose address refuses connections, or that is linked and says nothing. The first nearly
//! always is a process that died, the second one that stands still. But something between two nodes may refuse in a
//! member's name, or keep what it says, so others are asked first, who answer within a moment: a process that died has
//! closed its links to them as well, and one that stands still says nothing to them either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Engine;
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::membership::{Identity, Word};

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
struct Doubt {
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
pub(super) struct Doubts {
    own: BTreeMap<NodeId, Doubt>,
    questions: Vec<Question>,
}

impl Engine {
    /// `identity`, which is `node`, refuses connections. Asks others, or concludes at once when there are none.
    pub(super) fn doubt_refused(&mut self, node: &NodeId, identity: Identity, now: Now) {
        self.doubt(node, identity, Why::Refused, now);
    }

    /// `identity`, which is `node`, is linked and says nothing. The same.
    pub(super) fn doubt_silent(&mut self, node: &NodeId, identity: Identity, now: Now) {
        self.doubt(node, identity, Why::Silent, now);
    }

    fn doubt(&mut self, node: &NodeId, identity: Identity, why: Why, now: Now) {
        let others = self
            .roster
            .active()
            .filter(|(other, m)| m.linked && *other != node);
        let (before, after): (Vec<_>, Vec<_>) = others
            .map(|(other, _)| other.clone())
            .partition(|other| other < node);
        let asked: BTreeSet<_> = after.into_iter().chain(before).take(ASKED_MAX).collect();
        if asked.is_empty() {
            self.conclude_gone(node, &identity, why, now);
            return;
        }
        let (name, incarnation) = (identity.node.clone(), identity.incarnation);
        let question = match why {
            Why::Refused => Word::Missed {
                node: name.into(),
                incarnation,
            },
            Why::Silent => Word::Silent {
                node: name.into(),
                incarnation,
            },
        };
        for other in &asked {
            self.say_word(other, &question);
        }
        let until = now.mono + PATIENCE;
        self.doubts.own.insert(
            node.clone(),
            Doubt {
                identity,
                why,
                asked,
                until,
            },
        );
    }

    /// `by` asks whether this run of `about` is still heard here.
    pub(super) fn hear_missed(&mut self, by: &NodeId, about: &str, incarnation: u64, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let linked = self
            .roster
            .get(&about)
            .is_some_and(|member| member.linked && member.identity.incarnation == incarnation);
        if !linked {
            self.answer(by, &about, incarnation, false);
        } else if self.doubts.questions.len() < MEMBERS_MAX {
            self.doubts.questions.push(Question {
                by: by.clone(),
                about,
                incarnation,
                until: now.mono + STAYS,
            });
        } // Else it is not answered, and the asker decides for itself.
    }

    /// `by` asks whether this run of `about`, which says nothing to it, was heard here lately.
    pub(super) fn hear_silent(&mut self, by: &NodeId, about: &str, incarnation: u64, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let known = self.roster.get(&about);
        let same = known.is_some_and(|member| member.identity.incarnation == incarnation);
        let alive = same && self.hears(&about, now);
        self.answer(by, &about, incarnation, alive);
    }

    /// `by` says whether it still hears this run of `about`.
    pub(super) fn hear_heard(&mut self, by: &NodeId, about: &str, incarnation: u64, alive: bool, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let Some(doubt) = self.doubts.own.get_mut(&about) else {
            return;
        };
        if doubt.identity.incarnation != incarnation || !doubt.asked.remove(by) {
            return;
        }
        if alive {
            tracing::warn!(peer = %about, heard_by = %by, why = ?doubt.why, "cannot be heard from here; another member hears it");
            self.doubts.own.remove(&about);
        } else if doubt.asked.is_empty() {
            let (identity, why) = (doubt.identity.clone(), doubt.why);
            self.conclude_gone(&about, &identity, why, now);
        }
    }

    /// The link to `node` broke: whoever asked about it is told.
    pub(super) fn answer_gone(&mut self, node: &NodeId) {
        let (gone, left) = std::mem::take(&mut self.doubts.questions)
            .into_iter()
            .partition(|question| question.about == *node);
        self.doubts.questions = left;
        for question in gone {
            self.answer(&question.by, node, question.incarnation, false);
        }
    }

    /// There is a link to `node`, or it is down: nothing is left to doubt.
    pub(super) fn settle_doubt(&mut self, node: &NodeId) {
        self.doubts.own.remove(node);
    }

    /// Answers and concludes what was waited for long enough.
    pub(super) fn progress_doubts(&mut self, now: Now) {
        let (due, left) = std::mem::take(&mut self.doubts.questions)
            .into_iter()
            .partition(|question| question.until <= now.mono);
        self.doubts.questions = left;
        for question in due {
            self.answer(&question.by, &question.about, question.incarnation, true);
        }
        let late = self
            .doubts
            .own
            .iter()
            .filter(|(_, doubt)| doubt.until <= now.mono);
        let late: Vec<_> = late
            .map(|(node, doubt)| (node.clone(), doubt.identity.clone(), doubt.why))
            .collect();
        for (node, identity, why) in late {
            self.conclude_gone(&node, &identity, why, now);
        }
    }

    fn answer(&mut self, to: &NodeId, about: &NodeId, incarnation: u64, alive: bool) {
        self.say_word(
            to,
            &Word::Heard {
                node: about.as_str().to_owned(),
                incarnation,
                alive,
            },
        );
    }

    fn conclude_gone(&mut self, node: &NodeId, identity: &Identity, why: Why, now: Now) {
        self.doubts.own.remove(node);
        let member = self.roster.get(node);
        let Some(member) = member.filter(|member| member.active && member.identity == *identity) else {
            return;
        };
        match why {
            Why::Refused if member.linked => return,
            Why::Refused => {
                tracing::warn!(peer = %node, "its address refuses connections: the process is gone");
            }
            Why::Silent if !member.linked || self.hears(node, now) => return,
            Why::Silent => {
                tracing::warn!(peer = %node, "linked, but nothing was heard of it for nearly membership.drop_time");
            }
        }
        let todo = self.swim.declare_down(identity);
        self.carry_out(todo, now);
        self.refresh_table();
    }
}
