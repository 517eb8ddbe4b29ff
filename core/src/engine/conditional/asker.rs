//! The asking node's side: finds the owner, sends it the proposal with what this node holds of the session, and commits
//! what was decided.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::RECORD_BYTES_MAX;
use crate::engine::sessions::{Made, Refused, Written, check_patch, too_large};
use crate::engine::{Engine, Output};
use crate::replication::message::Message;
use crate::replication::proposal::{Proposal, Refusal, Verdict};
use crate::session::{Change, Condition, Record};

/// The most proposals under way. One more is answered as if the owner could not be reached.
const ASKED_MAX: usize = 4096;
/// The most bytes that they hold together; what passes it is answered so as well.
const ASKED_BYTES_MAX: usize = 64 << 20;
/// How long a caller waits for the decision at most.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after a node was asked that is not the owner, or while nobody can be asked, the view is looked at again.
const PAUSE: Duration = Duration::from_millis(50);

/// Numbers a proposal.
pub type DecisionId = u64;

/// Every proposal under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Asked {
    all: BTreeMap<DecisionId, Waiting>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    key: SessionKey,
    proposal: Proposal,
    /// Who was asked and has not answered.
    to: Option<NodeId>,
    /// Where nobody was, when to ask again.
    again: Duration,
    until: Duration,
}

impl Asked {
    /// Ends all of them.
    pub(in crate::engine) fn drain(&mut self) -> impl Iterator<Item = DecisionId> {
        std::mem::take(self).all.into_keys()
    }

    fn insert(&mut self, id: DecisionId, waiting: Waiting) -> bool {
        let bytes = size(&waiting.proposal.change);
        let fits = self.all.len() < ASKED_MAX && self.bytes + bytes <= ASKED_BYTES_MAX;
        if fits {
            self.bytes += bytes;
            self.all.insert(id, waiting);
        }
        fits
    }

    fn remove(&mut self, id: DecisionId) -> Option<Waiting> {
        let waiting = self.all.remove(&id)?;
        self.bytes -= size(&waiting.proposal.change);
        Some(waiting)
    }
}

/// About how many bytes a change holds.
fn size(change: &Change) -> usize {
    match change {
        Change::Delete => 0,
        Change::Patch(patch) => {
            let set = patch.set.iter().map(|(name, value)| name.len() + value.len());
            set.chain(patch.remove.iter().map(String::len)).sum()
        }
    }
}

impl Engine {
    /// Has a change made if `condition` holds. [`Output::Decided`] says what became of it.
    ///
    /// # Errors
    /// [`Refused::NotReady`], [`Refused::BadName`], [`Refused::TooLarge`]; [`Refused::Unreachable`] where too many wait
    /// already.
    pub fn propose(
        &mut self,
        key: &SessionKey,
        condition: Condition,
        change: Change,
        now: Now,
    ) -> Result<DecisionId, Refused> {
        self.check_ready()?;
        if let Change::Patch(patch) = &change {
            check_patch(patch)?;
        }
        let id = self.ids.next_request();
        let waiting = Waiting {
            key: key.clone(),
            proposal: Proposal { condition, change },
            to: None,
            again: now.mono,
            until: now.mono + PATIENCE,
        };
        if !self.conditional.asked.insert(id, waiting) {
            return Err(Refused::Unreachable);
        }
        self.ask_owner(id, now);
        Ok(id)
    }

    /// Sends a proposal to the owner, or decides it where that is this node.
    fn ask_owner(&mut self, id: DecisionId, now: Now) {
        let Some(waiting) = self.conditional.asked.all.get(&id) else {
            return;
        };
        let key = waiting.key.clone();
        let owner = self.owner(&key);
        let own = owner == self.config.node;
        let reachable = own || self.can_answer(&owner);
        let Some(waiting) = self.conditional.asked.all.get_mut(&id) else {
            return;
        };
        waiting.again = now.mono + PAUSE;
        if !reachable {
            return;
        }
        waiting.to = Some(owner.clone());
        let proposal = waiting.proposal.clone();
        if own {
            return self.decide_own(id, key, proposal, now);
        }
        let proposal = Box::new(proposal);
        let known = self.table.get(&key).cloned().unwrap_or_default();
        let mut parts = known.split(RECORD_BYTES_MAX);
        let last = parts.pop().unwrap_or_default();
        let propose = |known, proposal| Message::Propose {
            request: id,
            key: key.clone(),
            known: Box::new(known),
            proposal,
        };
        for part in parts {
            self.send(&owner, propose(part, None));
        }
        self.send(&owner, propose(last, Some(proposal)));
    }

    /// The answer to a proposal, about the session under the id the owner knows.
    pub(in crate::engine) fn on_decided(
        &mut self,
        node: &NodeId,
        request: u64,
        key: SessionKey,
        verdict: Verdict,
        record: Box<Record>,
        now: Now,
    ) {
        let asked = &mut self.conditional.asked.all;
        let Some(waiting) = asked.get_mut(&request).filter(|w| w.to.as_ref() == Some(node)) else {
            return; // too late
        };
        if verdict == Verdict::NotOwner {
            waiting.to = None;
            waiting.again = now.mono + PAUSE;
            return;
        }
        let known = vec![(key.clone(), Record::clone(&record))];
        let refused = self.apply_deltas(node, known, now).total();
        let result = match verdict {
            Verdict::Refused(refusal) => Err(refusal.into()),
            Verdict::Made { life, stamp } if refused == 0 => {
                let delta = *record;
                Ok(self.commit_made(&key, Made { life, stamp, delta }, now))
            }
            Verdict::Made { .. } | Verdict::NotOwner => Err(Refused::Undecided),
        };
        self.end_proposal(request, result);
    }

    /// Nobody was asked who could decide; the owner there is by then is asked in a moment.
    pub(super) fn ask_later(&mut self, id: DecisionId, now: Now) {
        if let Some(waiting) = self.conditional.asked.all.get_mut(&id) {
            waiting.to = None;
            waiting.again = now.mono + PAUSE;
        }
    }

    /// A proposal is decided, or given up.
    pub(super) fn end_proposal(&mut self, id: DecisionId, result: Result<Written, Refused>) {
        if self.conditional.asked.remove(id).is_some() {
            self.outputs.push(Output::Decided(id, result));
        }
    }

    /// Asks again where nobody was asked yet, and gives up what has waited for long enough.
    pub(in crate::engine) fn progress_proposals(&mut self, now: Now) {
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for (id, waiting) in &self.conditional.asked.all {
            let nobody = waiting.to.is_none();
            if now.mono >= waiting.until {
                let refused = if nobody && self.needs_quorum() {
                    Refused::NoQuorum
                } else if nobody {
                    Refused::Unreachable
                } else {
                    Refused::Undecided
                };
                over.push((*id, refused));
            } else if nobody && now.mono >= waiting.again {
                again.push(*id);
            }
        }
        for (id, refused) in over {
            self.end_proposal(id, Err(refused));
        }
        for id in again {
            self.ask_owner(id, now);
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unmet => Self::Unmet,
            Refusal::NotFound => Self::NotFound,
            Refusal::TooLarge => too_large(),
            Refusal::Full(most) => Self::Full(usize::try_from(most).unwrap_or(usize::MAX)),
            Refusal::Unreachable => Self::Unreachable,
            Refusal::NoQuorum => Self::NoQuorum,
            Refusal::Undecided => Self::Undecided,
        }
    }
}
