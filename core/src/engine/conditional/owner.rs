//! The deciding node's side: joins what the asker holds, has the rest of the session fetched where it is not here, and
//! decides. Between looking at the session and changing it nothing else happens.

use std::collections::BTreeMap;

use limpet_wire::placement::Scores;

use super::DecisionId;
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::RECORD_BYTES_MAX;
use crate::engine::Engine;
use crate::engine::backup::fetch::FetchId;
use crate::engine::sessions::{Made, Refused};
use crate::replication::message::Message;
use crate::replication::proposal::{Proposal, Refusal, Verdict};
use crate::session::{Condition, Record};

/// Who proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proposer {
    /// A caller of this node.
    Own(DecisionId),
    /// Another node, with the number it gave the request.
    Peer(NodeId, u64),
}

/// Proposals that wait until the session is here. As many as there are fetches.
#[derive(Debug, Default)]
pub(in crate::engine) struct Deciding(BTreeMap<FetchId, (Proposer, SessionKey, Proposal)>);

impl Engine {
    /// The node that decides about conditional changes of `key`.
    #[must_use]
    pub fn owner(&self, key: &SessionKey) -> NodeId {
        if let Some(quorum) = &self.conditional.quorum {
            let owner = quorum.owner(key).map(|voter| voter.node.clone());
            return owner.unwrap_or_else(|| self.config.node.clone());
        }
        let members = self.members.roster().active();
        let ready = members.filter(|(_, member)| member.ready).map(|(node, _)| node);
        let scores = Scores::of(key.app(), key.id());
        let nodes = ready.chain([&self.config.node]);
        let best = nodes.max_by(|a, b| {
            let by_score = scores.node(a.as_str()).cmp(&scores.node(b.as_str()));
            by_score.then_with(|| b.cmp(a))
        });
        best.unwrap_or(&self.config.node).clone()
    }

    /// `node` asks this node to decide.
    pub(in crate::engine) fn on_propose(
        &mut self,
        node: &NodeId,
        request: u64,
        key: SessionKey,
        known: Box<Record>,
        proposal: Option<Box<Proposal>>,
        now: Now,
    ) {
        let refused = self.apply(node, vec![(key.clone(), *known)], now);
        let Some(proposal) = proposal else {
            return; // the rest follows
        };
        let proposer = Proposer::Peer(node.clone(), request);
        if refused.total() > 0 {
            return self.answer(proposer, &key, Err(Refused::Unreachable), now);
        }
        if self.check_ready().is_err() || self.owner(&key) != self.config.node {
            self.send_verdict(node, request, &key, Verdict::NotOwner, Record::default());
            return;
        }
        self.decide_or_fetch(proposer, key, *proposal, now);
    }

    /// A caller of this node proposes, and this node is the owner.
    pub(super) fn decide_own(&mut self, id: DecisionId, key: SessionKey, proposal: Proposal, now: Now) {
        self.decide_or_fetch(Proposer::Own(id), key, proposal, now);
    }

    fn decide_or_fetch(&mut self, proposer: Proposer, key: SessionKey, proposal: Proposal, now: Now) {
        if self.needs_quorum() && !self.has_majority() {
            return self.answer(proposer, &key, Err(Refused::NoQuorum), now);
        }
        if !self.must_fetch(&key, now) {
            return self.decide(proposer, &key, proposal, now);
        }
        match self.fetch(&key, now) {
            Ok(None) => self.decide(proposer, &key, proposal, now),
            Ok(Some(fetch)) => {
                self.conditional
                    .deciding
                    .0
                    .insert(fetch, (proposer, key, proposal));
            }
            Err(refused) => self.answer(proposer, &key, Err(refused), now),
        }
    }

    /// A fetch is over. Says whether it was made for a proposal.
    pub(in crate::engine) fn decide_fetched(&mut self, fetch: FetchId, answered: bool, now: Now) -> bool {
        let Some((proposer, key, proposal)) = self.conditional.deciding.0.remove(&fetch) else {
            return false;
        };
        if answered {
            self.decide(proposer, &key, proposal, now);
        } else {
            self.answer(proposer, &key, Err(Refused::Unreachable), now);
        }
        true
    }

    fn decide(&mut self, proposer: Proposer, key: &SessionKey, proposal: Proposal, now: Now) {
        if self.needs_quorum() {
            return self.decide_by_majority(proposer, key, proposal, now);
        }
        let made = match self.check_condition(key, proposal.condition, now) {
            Ok(()) => self.delta_of(key, proposal.change, now),
            Err(refused) => Err(refused),
        };
        self.answer(proposer, key, made, now);
    }

    pub(super) fn check_condition(
        &self,
        key: &SessionKey,
        condition: Condition,
        now: Now,
    ) -> Result<(), Refused> {
        let found = match self.find(key, now) {
            Ok(record) => Some(record),
            Err(Refused::NotFound) => None,
            Err(refused) => return Err(refused),
        };
        let holds = match condition {
            Condition::Absent => found.is_none(),
            Condition::Present => found.is_some(),
            Condition::Version(version) => found.is_some_and(|record| record.version() == version),
        };
        if holds { Ok(()) } else { Err(Refused::Unmet) }
    }

    /// Commits what was decided, and tells the proposer.
    pub(super) fn answer(
        &mut self,
        proposer: Proposer,
        key: &SessionKey,
        made: Result<Made, Refused>,
        now: Now,
    ) {
        let (node, request) = match proposer {
            Proposer::Own(id) => {
                let written = made.map(|made| self.commit_made(key, made, now));
                return self.end_proposal(id, written);
            }
            Proposer::Peer(node, request) => (node, request),
        };
        match made {
            Ok(made) => {
                let Made { life, stamp, delta } = made.clone();
                self.commit_made(key, made, now);
                self.send_verdict(&node, request, key, Verdict::Made { life, stamp }, delta);
            }
            Err(refused) => {
                let known = self.shown(key);
                self.send_verdict(&node, request, key, Verdict::Refused(refused.into()), known);
            }
        }
    }

    /// What is here of a session, for a proposer to see why its condition does not hold; nothing where that is too much for
    /// one message.
    fn shown(&self, key: &SessionKey) -> Record {
        let known = self.table.get(key);
        let known = known.filter(|known| known.size() <= RECORD_BYTES_MAX && known.is_complete());
        known.cloned().unwrap_or_default()
    }

    pub(super) fn send_verdict(
        &mut self,
        node: &NodeId,
        request: u64,
        key: &SessionKey,
        verdict: Verdict,
        record: Record,
    ) {
        let (key, record) = (key.clone(), Box::new(record));
        let decided = Message::Decided {
            request,
            key,
            verdict,
            record,
        };
        self.send(node, decided);
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unmet => Self::Unmet,
            Refused::NotFound => Self::NotFound,
            Refused::TooLarge(_) => Self::TooLarge,
            Refused::Full(most) => Self::Full(most as u64),
            Refused::NoQuorum => Self::NoQuorum,
            Refused::Undecided => Self::Undecided,
            _ => Self::Unreachable,
        }
    }
}
