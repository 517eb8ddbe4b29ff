//! Links that come and go, and what that says of the member at the other end: alive, suspected, failed.

use super::failure_detector::Silence;
use super::suspicion::{Reason, Reply, Suspect};
use super::{Members, MembersOutput};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::membership::{Identity, MemberMessage, RosterFull};

impl Members {
    /// Whether `incarnation` of `node` is a later one than the one that is known: another process, with an empty
    /// memory.
    #[must_use]
    pub fn is_later(&self, node: &NodeId, incarnation: u64) -> bool {
        let known = self.roster.get(node);
        known.is_some_and(|member| (1..incarnation).contains(&member.identity.incarnation))
    }

    /// A link to `node`, which says that it is `identity`, is up. [`Self::meet`] is to follow once messages can be
    /// sent on it.
    ///
    /// # Errors
    /// [`RosterFull`]: the link is to be closed.
    pub fn link_up(&mut self, node: &NodeId, identity: Identity, now: Now) -> Result<(), RosterFull> {
        self.note(node, identity, now)?;
        if let Some(member) = self.roster.get_mut(node) {
            member.linked = true;
            member.failed = false;
            member.refusal_counts = true;
        }
        self.suspicions.clear(node);
        self.duplicates.accepted_by(node);
        self.failure_detector.watch(node, now.mono);
        Ok(())
    }

    /// Introduces this node to SWIM at `node`, which says that it is `identity`.
    pub fn meet(&mut self, node: &NodeId, identity: Identity, now: Now) {
        let known = self.latest_incarnation(node);
        if known > identity.incarnation {
            self.send_known_incarnation(node, known);
        }
        self.ask_clock(node.clone(), now);
        let todo = self.swim.meet(identity);
        self.carry_out(todo, now);
    }

    /// The link to `node` is down, or none could be made. `refused`: its address refuses connections, so its process
    /// most likely ended.
    pub fn link_down(&mut self, node: &NodeId, refused: bool, now: Now) {
        let Some(member) = self.roster.get_mut(node) else {
            return;
        };
        let was_linked = std::mem::replace(&mut member.linked, false);
        // Only the first refusal after a link counts: if the process lives on, behind something that refuses in its
        // name, it refutes its failure, and then silence decides.
        let counts = refused && member.active && std::mem::take(&mut member.refusal_counts);
        let identity = member.identity.clone();
        if was_linked && !member.active && !member.leaving {
            // SWIM does not count it as a member, so it will not report that it is gone.
            self.note_lost(node, now);
        }
        if was_linked {
            for pending in self.suspicions.take_pending_about(node) {
                self.reply(pending.to, node, pending.incarnation, false);
            }
        }
        if counts {
            let reason = Reason::Refused;
            self.suspect(node, Suspect { identity, reason }, now);
        }
        self.settle_unknown(node, now);
    }

    /// Something arrived from `node`.
    pub fn note_heard(&mut self, node: &NodeId, now: Now) {
        if let Some(member) = self.roster.get_mut(node) {
            member.failed = false;
            self.failure_detector.heard(node, now.mono);
        }
    }

    pub(super) fn check_silence(&mut self, now: Now) {
        let roster = &self.roster;
        let is_expected = |node: &NodeId| {
            let member = roster.get(node);
            member.is_some_and(|member| member.linked && member.active && !member.leaving)
        };
        for silence in self.failure_detector.check(is_expected, now.mono) {
            match silence {
                Silence::Ask(node) => self.ask_clock(node, now),
                Silence::Suspect(node) => {
                    if let Some(member) = self.roster.get(&node) {
                        let (identity, reason) = (member.identity.clone(), Reason::Silent);
                        self.suspect(&node, Suspect { identity, reason }, now);
                    }
                }
            }
        }
    }

    /// Asks other members about a suspected one, or confirms its failure at once when there are none to ask.
    fn suspect(&mut self, node: &NodeId, suspect: Suspect, now: Now) {
        let others = self.roster.active().filter(|(_, member)| member.linked);
        let others = others.map(|(other, _)| other.clone());
        let requests = self.suspicions.begin(node, suspect.clone(), others, now.mono);
        if requests.is_empty() {
            self.confirm(node, &suspect, now);
        }
        for (other, request) in requests {
            self.send(other, request);
        }
    }

    /// `by` asks whether the link to this incarnation of `about` stays up here.
    pub(super) fn on_probe_refused(&mut self, by: &NodeId, about: &str, incarnation: u64, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let known = self.roster.get(&about);
        if known.is_some_and(|member| member.linked && member.identity.incarnation == incarnation) {
            self.suspicions.reply_later(by, about, incarnation, now.mono);
        } else {
            self.reply(by.clone(), &about, incarnation, false);
        }
    }

    /// `by` asks whether this incarnation of `about`, which sends it nothing, was heard here lately.
    pub(super) fn on_probe_silent(&mut self, by: &NodeId, about: &str, incarnation: u64, now: Now) {
        let Ok(about) = NodeId::parse(about) else { return };
        let known = self.roster.get(&about);
        let same = known.is_some_and(|member| member.identity.incarnation == incarnation);
        let alive = same && self.failure_detector.heard_lately(&about, now.mono);
        self.reply(by.clone(), &about, incarnation, alive);
    }

    /// `by` answers whether this incarnation of `about` is alive.
    pub(super) fn on_probe_reply(
        &mut self,
        by: &NodeId,
        about: &str,
        incarnation: u64,
        alive: bool,
        now: Now,
    ) {
        let Ok(about) = NodeId::parse(about) else { return };
        match self.suspicions.on_reply(by, &about, incarnation, alive) {
            Reply::Nothing => {}
            Reply::Cleared(suspect) => tracing::warn!(
                peer = %about, alive_at = %by, reason = ?suspect.reason,
                "cannot be reached from here; another member reaches it"
            ),
            Reply::Confirmed(suspect) => self.confirm(&about, &suspect, now),
        }
    }

    fn reply(&mut self, to: NodeId, about: &NodeId, incarnation: u64, alive: bool) {
        let node = about.as_str().to_owned();
        let reply = MemberMessage::ProbeReply {
            node,
            incarnation,
            alive,
        };
        self.send(to, reply);
    }

    /// Answers probe requests and confirms suspicions that were waited for long enough.
    pub(super) fn progress_suspicions(&mut self, now: Now) {
        for pending in self.suspicions.take_pending_due(now.mono) {
            self.reply(pending.to, &pending.about, pending.incarnation, true);
        }
        for (node, suspect) in self.suspicions.take_unanswered(now.mono) {
            self.confirm(&node, &suspect, now);
        }
    }

    /// Nobody objects to a suspicion. Unless the member came back meanwhile it is declared down, and SWIM tells
    /// everybody; a member that is alive after all refutes it.
    fn confirm(&mut self, node: &NodeId, suspect: &Suspect, now: Now) {
        let member = self.roster.get(node);
        let Some(member) = member.filter(|member| member.active && member.identity == suspect.identity)
        else {
            return;
        };
        match suspect.reason {
            Reason::Refused if member.linked => return,
            Reason::Refused => {
                tracing::warn!(peer = %node, "its address refuses connections: the process is gone");
            }
            Reason::Silent if !member.linked || self.failure_detector.heard_lately(node, now.mono) => return,
            Reason::Silent => {
                tracing::warn!(peer = %node, "linked, but nothing arrived from it for nearly membership.drop_time");
            }
        }
        let todo = self.swim.declare_down(&suspect.identity);
        self.carry_out(todo, now);
    }

    /// The process that `node` is linked to does not answer any more, and another one has its id: the link is given
    /// up. [`Self::link_down`] is to follow.
    pub fn give_up_link(&mut self, node: &NodeId) {
        tracing::info!(peer = %node, "its former process does not answer; another takes its place");
        self.outputs.push(MembersOutput::CloseLink(node.clone()));
    }
}
