//! Suspicion of a member that refuses connections, or that is linked and sends nothing.
//!
//! A refused connection nearly always means that the process has ended, silence that it has stopped. But something
//! between two nodes may refuse connections in a member's name, or hold back its packets. So up to three other members
//! get a probe request, as in SWIM's indirect probes. A node that is linked to a member that refuses waits 100 ms before
//! it answers *alive*, because a process that ends closes its links. One answer *alive* clears the suspicion. The failure
//! is confirmed when all deny it, when 150 ms have passed, or when there is nobody to ask.
//!
//! This value keeps the suspicions of this node, and the probe requests of others that it has yet to answer. What a
//! confirmed failure means is decided by [`super::Members`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::membership::{Identity, MemberMessage};

/// How many other members are asked.
const PROBES_MAX: usize = 3;
/// How long a link to the suspected member must stay up before that counts as alive: the end of a process closes its
/// links to everybody sooner.
const LINK_STAYS: Duration = Duration::from_millis(100);
/// How long replies are waited for.
const REPLY_TIMEOUT: Duration = Duration::from_millis(150);

/// Why a member is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its address refuses connections.
    Refused,
    /// It is linked and sends nothing.
    Silent,
}

/// A member that is suspected to have failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspect {
    /// The incarnation that is suspected.
    pub(super) identity: Identity,
    pub(super) reason: Reason,
}

impl Suspect {
    /// The probe request that is sent to other members.
    fn request(&self) -> MemberMessage {
        let (node, incarnation) = (self.identity.node.clone().into(), self.identity.incarnation);
        match self.reason {
            Reason::Refused => MemberMessage::ProbeRefused { node, incarnation },
            Reason::Silent => MemberMessage::ProbeSilent { node, incarnation },
        }
    }
}

/// What a reply leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// More replies are awaited, or nobody asked.
    Nothing,
    /// The member is alive: the suspicion is cleared.
    Cleared(Suspect),
    /// Everybody who was asked denied it: the member has failed.
    Confirmed(Suspect),
}

#[derive(Debug)]
struct Probe {
    suspect: Suspect,
    asked: BTreeSet<NodeId>,
    until: Duration,
}

/// Another member's probe request that is answered when the link has stayed up for [`LINK_STAYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingReply {
    pub(super) to: NodeId,
    pub(super) about: NodeId,
    pub(super) incarnation: u64,
    until: Duration,
}

/// Members suspected here, and probe requests of other members. See the module page.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    /// One for each suspected member.
    probes: BTreeMap<NodeId, Probe>,
    /// At most [`MEMBERS_MAX`]. Further ones are not answered, and whoever asked decides without this node.
    pending: Vec<PendingReply>,
}

impl Suspicions {
    /// Begins to suspect `node`. `others` are the linked active members in the order of names; those that follow
    /// `node` are asked first, so that not every suspicion asks the same few. Returns the probe requests to send; none
    /// if there is nobody to ask, and then the failure is confirmed by that.
    pub(super) fn begin(
        &mut self,
        node: &NodeId,
        suspect: Suspect,
        others: impl Iterator<Item = NodeId>,
        now: Duration,
    ) -> Vec<(NodeId, MemberMessage)> {
        let (before, after): (Vec<_>, Vec<_>) = others
            .filter(|other| other != node)
            .partition(|other| other < node);
        let asked: BTreeSet<_> = after.into_iter().chain(before).take(PROBES_MAX).collect();
        if asked.is_empty() {
            self.probes.remove(node);
            return Vec::new();
        }
        let request = suspect.request();
        let requests = asked.iter().map(|other| (other.clone(), request.clone()));
        let requests = requests.collect();
        let until = now + REPLY_TIMEOUT;
        let probe = Probe {
            suspect,
            asked,
            until,
        };
        self.probes.insert(node.clone(), probe);
        requests
    }

    /// `by` answered a probe request about the incarnation of `about`.
    pub(super) fn on_reply(&mut self, by: &NodeId, about: &NodeId, incarnation: u64, alive: bool) -> Reply {
        let Some(probe) = self.probes.get_mut(about) else {
            return Reply::Nothing;
        };
        let expected = probe.suspect.identity.incarnation == incarnation && probe.asked.remove(by);
        if !expected || !(alive || probe.asked.is_empty()) {
            return Reply::Nothing;
        }
        let suspect = probe.suspect.clone();
        self.probes.remove(about);
        if alive {
            Reply::Cleared(suspect)
        } else {
            Reply::Confirmed(suspect)
        }
    }

    /// There is a link to `node`, or it is down: nothing is left to suspect.
    pub(super) fn clear(&mut self, node: &NodeId) {
        self.probes.remove(node);
    }

    /// `by` asks about a member that is linked here: it is answered when the link has stayed up for a while.
    pub(super) fn reply_later(&mut self, by: &NodeId, about: NodeId, incarnation: u64, now: Duration) {
        if self.pending.len() < MEMBERS_MAX {
            self.pending.push(PendingReply {
                to: by.clone(),
                about,
                incarnation,
                until: now + LINK_STAYS,
            });
        }
    }

    /// The link to `node` broke: returns the requests about it, which are to be denied.
    pub(super) fn take_pending_about(&mut self, node: &NodeId) -> Vec<PendingReply> {
        self.pending
            .extract_if(.., |reply| reply.about == *node)
            .collect()
    }

    /// Returns the requests about members whose links stayed up for long enough.
    pub(super) fn take_pending_due(&mut self, now: Duration) -> Vec<PendingReply> {
        self.pending.extract_if(.., |reply| reply.until <= now).collect()
    }

    /// Returns the suspicions for which replies were waited for long enough, in the order of names: they are
    /// confirmed.
    pub(super) fn take_unanswered(&mut self, now: Duration) -> Vec<(NodeId, Suspect)> {
        let due = self.probes.extract_if(.., |_, probe| probe.until <= now);
        due.map(|(node, probe)| (node, probe.suspect)).collect()
    }

    /// How many suspicions and requests are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.probes.len() + self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn suspect(reason: Reason) -> Suspect {
        let identity = Identity {
            node: "d".into(),
            addr: "10.0.0.4:4000".parse().unwrap(),
            incarnation: 7,
        };
        Suspect { identity, reason }
    }

    fn begin(others: &[&str]) -> (Suspicions, Vec<NodeId>) {
        let mut suspicions = Suspicions::default();
        let others = others.iter().map(|name| id(name));
        let requests = suspicions.begin(&id("d"), suspect(Reason::Refused), others, ms(0));
        let asked = requests.into_iter().map(|(to, request)| {
            let incarnation = 7;
            let node = "d".into();
            assert_eq!(request, MemberMessage::ProbeRefused { node, incarnation });
            to
        });
        let asked = asked.collect();
        (suspicions, asked)
    }

    #[test]
    fn the_next_three_by_name_are_asked_and_never_the_suspect() {
        assert_eq!(
            begin(&["a", "b", "d", "e", "f", "g"]).1,
            [id("e"), id("f"), id("g")]
        );
        assert_eq!(begin(&["a", "b", "d", "e"]).1, [id("a"), id("b"), id("e")]);
        assert_eq!(begin(&["d"]).1, []);
    }

    #[test]
    fn one_reply_of_its_being_alive_clears_a_suspicion() {
        let (mut suspicions, _) = begin(&["a", "b"]);
        assert_eq!(suspicions.on_reply(&id("a"), &id("d"), 7, false), Reply::Nothing);
        let cleared = Reply::Cleared(suspect(Reason::Refused));
        assert_eq!(suspicions.on_reply(&id("b"), &id("d"), 7, true), cleared);
        assert_eq!(suspicions.take_unanswered(ms(1000)), []);
    }

    #[test]
    fn a_failure_that_all_replies_confirm_is_confirmed() {
        let (mut suspicions, _) = begin(&["a", "b"]);
        let nothing = [
            ("a", 6, true),  // about another incarnation
            ("c", 7, true),  // was not asked
            ("a", 7, false), // b is still to answer
            ("a", 7, true),  // has answered
        ];
        for (by, incarnation, alive) in nothing {
            let reply = suspicions.on_reply(&id(by), &id("d"), incarnation, alive);
            assert_eq!(reply, Reply::Nothing, "{by} {incarnation} {alive}");
        }
        let confirmed = Reply::Confirmed(suspect(Reason::Refused));
        assert_eq!(suspicions.on_reply(&id("b"), &id("d"), 7, false), confirmed);
        assert_eq!(suspicions.len(), 0);
    }

    #[test]
    fn without_replies_a_failure_is_confirmed_after_150_ms() {
        let (mut suspicions, _) = begin(&["a"]);
        assert_eq!(suspicions.take_unanswered(ms(149)), []);
        let confirmed = [(id("d"), suspect(Reason::Refused))];
        assert_eq!(suspicions.take_unanswered(ms(150)), confirmed);
        assert_eq!(suspicions.take_unanswered(ms(150)), []);
    }

    #[test]
    fn a_request_is_answered_when_the_link_stayed_up_or_broke_whichever_comes_first() {
        let mut suspicions = Suspicions::default();
        suspicions.reply_later(&id("a"), id("d"), 7, ms(0));
        suspicions.reply_later(&id("b"), id("e"), 9, ms(0));
        assert_eq!(suspicions.take_pending_due(ms(99)), []);
        let broke = suspicions.take_pending_about(&id("d"));
        assert_eq!(
            broke.iter().map(|reply| reply.to.as_str()).collect::<Vec<_>>(),
            ["a"]
        );
        let due = suspicions.take_pending_due(ms(100));
        assert_eq!(due.iter().map(|reply| reply.incarnation).collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn only_so_many_requests_wait() {
        let mut suspicions = Suspicions::default();
        for _ in 0..2 * MEMBERS_MAX {
            suspicions.reply_later(&id("a"), id("d"), 7, ms(0));
        }
        assert_eq!(suspicions.len(), MEMBERS_MAX);
    }
}
