//! Whether a member whose address refuses connections is gone. It nearly always is: a process that died. But
//! something between two nodes may refuse in its name, so others are asked first, who answer within a moment:
//! a process that died has closed its links to them as well.

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

#[derive(Debug)]
struct Doubt {
    identity: Identity,
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
    pub(super) fn doubt(&mut self, node: &NodeId, identity: Identity, now: Now) {
        let others = self
            .roster
            .active()
            .filter(|(other, m)| m.linked && *other != node);
        let (before, after): (Vec<_>, Vec<_>) = others
            .map(|(other, _)| other.clone())
            .partition(|other| other < node);
        let asked: BTreeSet<_> = after.into_iter().chain(before).take(ASKED_MAX).collect();
        if asked.is_empty() {
            self.conclude_gone(node, &identity, now);
            return;
        }
        for other in &asked {
            self.say_word(
                other,
                &Word::Missed {
                    node: identity.node.clone(),
                    incarnation: identity.incarnation,
                },
            );
        }
        let until = now.mono + PATIENCE;
        self.doubts.own.insert(
            node.clone(),
            Doubt {
                identity,
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

    /// `by` says whether it still hears this run of `about`.
    pub(super) fn hear_heard(&mut self, by: &NodeId, about: &str, incarnation: u64, linked: bool, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let Some(doubt) = self.doubts.own.get_mut(&about) else {
            return;
        };
        if doubt.identity.incarnation != incarnation || !doubt.asked.remove(by) {
            return;
        }
        if linked {
            tracing::warn!(peer = %about, heard_by = %by, "its address refuses connections from here; another member hears it");
            self.doubts.own.remove(&about);
        } else if doubt.asked.is_empty() {
            let identity = doubt.identity.clone();
            self.conclude_gone(&about, &identity, now);
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
            .map(|(node, doubt)| (node.clone(), doubt.identity.clone()))
            .collect();
        for (node, identity) in late {
            self.conclude_gone(&node, &identity, now);
        }
    }

    fn answer(&mut self, to: &NodeId, about: &NodeId, incarnation: u64, linked: bool) {
        self.say_word(
            to,
            &Word::Heard {
                node: about.as_str().to_owned(),
                incarnation,
                linked,
            },
        );
    }

    fn conclude_gone(&mut self, node: &NodeId, identity: &Identity, now: Now) {
        self.doubts.own.remove(node);
        let same = self
            .roster
            .get(node)
            .is_some_and(|member| member.active && !member.linked && member.identity == *identity);
        if !same {
            return;
        }
        tracing::warn!(peer = %node, "its address refuses connections: the process is gone");
        let todo = self.swim.declare_down(identity);
        self.carry_out(todo, now);
        self.refresh_table();
    }
}
