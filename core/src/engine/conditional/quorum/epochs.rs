//! The agreement on epochs: of each number one is chosen, by single-decree Paxos (Lamport 2001) among the voters of the
//! epoch before it. As a value without sockets or clocks.
//!
//! The first epoch has none before it: it takes the agreement of as many nodes as the cluster is founded with. What
//! voters hold of keys belongs to [`super::registers`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::id::NodeId;
use crate::replication::quorum::{Ballot, Epoch, QuorumMessage, READS_MAX, Voter, VoterSet};

/// How long one proposer waits for its answers before it gives up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a difference has to last before the first of the members proposes.
const SETTLING: Duration = Duration::from_millis(100);
/// How much longer each further one waits, so that two seldom propose at a time.
const STAGGER: Duration = Duration::from_millis(300);
/// The most voters that are kept as dead beside those of the present epoch.
const FORGOTTEN_MAX: usize = 64;

/// Messages, and whom they are for.
pub(super) type Out = Vec<(NodeId, QuorumMessage)>;

/// What a node sees of the others.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The members that can be reached and are ready, this node included where it is.
    pub(super) present: BTreeSet<Voter>,
    /// The members that left.
    pub(super) left: BTreeSet<NodeId>,
    /// Those that hold all that was decided before the present epoch.
    pub(super) synced: BTreeSet<Voter>,
    /// Whether any of them has an epoch, or may have one.
    pub(super) may_have_epoch: bool,
}

/// A proposal of this node's.
#[derive(Debug)]
struct Campaign {
    ballot: Ballot,
    acceptors: VoterSet,
    want: Epoch,
    promises: BTreeMap<Voter, Option<(Ballot, Epoch)>>,
    proposed: Option<Epoch>,
    accepts: BTreeSet<Voter>,
    until: Duration,
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Epochs {
    me: Voter,
    founders: usize,
    current: Option<Epoch>,
    /// Of the next epoch.
    promised: Ballot,
    accepted: Option<(Ballot, Epoch)>,
    campaign: Option<Campaign>,
    /// The greatest round that was seen.
    round: u64,
    forgotten: BTreeSet<Voter>,
    /// The epoch that is wanted, and since when.
    wanted: Option<(Epoch, Duration)>,
}

impl Epochs {
    pub(super) const fn new(me: Voter, founders: usize) -> Self {
        Self {
            me,
            founders,
            current: None,
            promised: Ballot { round: 0, memory: 0 },
            accepted: None,
            campaign: None,
            round: 0,
            forgotten: BTreeSet::new(),
            wanted: None,
        }
    }

    pub(super) const fn me(&self) -> &Voter {
        &self.me
    }

    pub(super) const fn founders(&self) -> usize {
        self.founders
    }

    pub(super) const fn current(&self) -> Option<&Epoch> {
        self.current.as_ref()
    }

    /// The number of the present epoch; 0 for none.
    pub(super) fn number(&self) -> u64 {
        self.current.as_ref().map_or(0, |epoch| epoch.number)
    }

    pub(super) const fn forgotten(&self) -> &BTreeSet<Voter> {
        &self.forgotten
    }

    /// An operator says that the voter is dead. Says whether that is news.
    pub(super) fn forget(&mut self, voter: Voter) -> bool {
        voter != self.me
            && self.is_in_epoch(&voter)
            && self.forgotten.len() < FORGOTTEN_MAX
            && self.forgotten.insert(voter)
    }

    /// Whether anything waits for the voter: it is one, or is read.
    pub(super) fn is_in_epoch(&self, voter: &Voter) -> bool {
        let sets = self
            .current
            .iter()
            .flat_map(|epoch| epoch.reads.iter().chain([&epoch.voters]));
        sets.into_iter().any(|set| set.contains(voter))
    }

    /// Whose agreement the next epoch takes.
    fn acceptors(&self, view: &View) -> VoterSet {
        match &self.current {
            Some(epoch) => epoch.voters.without(|voter| self.forgotten.contains(voter)),
            None => VoterSet {
                voters: view.present.iter().cloned().collect(),
                needed: u32::try_from(self.founders).unwrap_or(u32::MAX),
            },
        }
    }

    /// The epoch that should follow, if another should.
    fn wants(&self, view: &View) -> Option<Epoch> {
        let Some(epoch) = &self.current else {
            let founds = !view.may_have_epoch
                && view.present.len() >= self.founders
                && view.present.contains(&self.me);
            return founds.then(|| {
                let all: Vec<_> = view.present.iter().cloned().collect();
                Epoch {
                    number: 1,
                    since: 1,
                    voters: VoterSet::majority_of(all.clone()),
                    reads: Vec::new(),
                    owners: all,
                }
            });
        };
        let number = epoch.number.saturating_add(1);
        let is_dead = |voter: &Voter| self.forgotten.contains(voter);
        let is_synced =
            epoch.reads.is_empty() || epoch.voters.is_reached(|voter| view.synced.contains(voter));
        let is_here = |node: &NodeId| view.present.iter().any(|voter| voter.node == *node);
        // One change of voters at a time, but for those that are dead.
        let stays = |voter: &Voter| {
            let has_gone = view.left.contains(&voter.node) && !view.present.contains(voter);
            let is_another = is_here(&voter.node) && !view.present.contains(voter);
            !is_dead(voter) && (!is_synced || !(has_gone || is_another))
        };
        let mut voters: BTreeSet<_> = epoch.voters.voters.iter().filter(|v| stays(v)).cloned().collect();
        if is_synced {
            // One that was forgotten and lives learns of that by an epoch without it, and counts as new then.
            voters.extend(view.present.iter().filter(|voter| !is_dead(voter)).cloned());
        }
        let voters: Vec<_> = voters.into_iter().collect();
        let owners: Vec<_> = voters
            .iter()
            .filter(|voter| view.present.contains(voter))
            .cloned()
            .collect();
        if owners.is_empty() {
            return None;
        }
        let mut reads = if is_synced {
            Vec::new()
        } else {
            epoch.reads.clone()
        };
        let changes = voters != epoch.voters.voters;
        if changes {
            if reads.len() >= READS_MAX {
                return None;
            }
            reads.push(epoch.voters.clone());
        }
        let reads: Vec<_> = reads.iter().map(|set| set.without(is_dead)).collect();
        let next = Epoch {
            number,
            // New voters have to copy what the former ones hold, also where those look the same as before.
            since: if reads == epoch.reads && !changes {
                epoch.since
            } else {
                number
            },
            voters: if changes {
                VoterSet::majority_of(voters)
            } else {
                epoch.voters.clone()
            },
            reads,
            owners,
        };
        let differs = next.voters != epoch.voters || next.reads != epoch.reads || next.owners != epoch.owners;
        differs.then_some(next)
    }

    /// Time passes.
    pub(super) fn tick(&mut self, view: &View, now: Duration) -> Out {
        if self
            .campaign
            .as_ref()
            .is_some_and(|campaign| now >= campaign.until)
        {
            self.campaign = None;
            self.wanted = None;
        }
        if self.campaign.is_some() {
            return Out::new();
        }
        let Some(want) = self.wants(view) else {
            self.wanted = None;
            return Out::new();
        };
        let since = match &self.wanted {
            Some((wanted, since)) if *wanted == want => *since,
            _ => now,
        };
        self.wanted = Some((want.clone(), since));
        let before = view.present.iter().filter(|voter| **voter < self.me).count();
        let patience = SETTLING + STAGGER * u32::try_from(before).unwrap_or(u32::MAX).min(100);
        if now.saturating_sub(since) < patience {
            return Out::new();
        }
        self.begin(want, view, now)
    }

    fn begin(&mut self, want: Epoch, view: &View, now: Duration) -> Out {
        self.round = self.round.saturating_add(1);
        let ballot = Ballot {
            round: self.round,
            memory: self.me.memory,
        };
        let slot = want.number;
        let acceptors = self.acceptors(view);
        self.campaign = Some(Campaign {
            ballot,
            acceptors: acceptors.clone(),
            want,
            promises: BTreeMap::new(),
            proposed: None,
            accepts: BTreeSet::new(),
            until: now + PATIENCE,
        });
        self.send_to_acceptors(&acceptors, &QuorumMessage::Prepare { slot, ballot })
    }

    /// Sends to all acceptors; what is for this node is answered at once.
    fn send_to_acceptors(&mut self, acceptors: &VoterSet, message: &QuorumMessage) -> Out {
        let me = self.me.clone();
        let mut out = Out::new();
        for voter in &acceptors.voters {
            if *voter != me {
                out.push((voter.node.clone(), message.clone()));
            }
        }
        if acceptors.contains(&me) {
            let answers = match message {
                QuorumMessage::Prepare { slot, ballot } => self.on_prepare(&me, *slot, *ballot),
                QuorumMessage::AcceptEpoch { ballot, epoch } => {
                    self.on_accept_epoch(&me, *ballot, epoch.clone())
                }
                _ => Out::new(),
            };
            for (_, answer) in answers {
                out.extend(match answer {
                    QuorumMessage::Promise {
                        slot,
                        ballot,
                        accepted,
                    } => self.on_promise(&me, slot, ballot, accepted),
                    QuorumMessage::AcceptedEpoch { slot, ballot } => {
                        self.on_accepted_epoch(&me, slot, ballot)
                    }
                    _ => Out::new(),
                });
            }
        }
        out
    }

    /// What to answer instead to a message about epoch `slot`, where that is not the next one here.
    fn is_other_slot(&self, from: &Voter, slot: u64) -> Option<Out> {
        let number = self.number();
        if slot == number.saturating_add(1) {
            return None;
        }
        let answer = match &self.current {
            Some(epoch) if slot <= number => QuorumMessage::Chosen(epoch.clone()),
            _ => QuorumMessage::Status {
                epoch: number,
                synced: 0,
            },
        };
        Some(vec![(from.node.clone(), answer)])
    }

    pub(super) fn on_prepare(&mut self, from: &Voter, slot: u64, ballot: Ballot) -> Out {
        if let Some(out) = self.is_other_slot(from, slot) {
            return out;
        }
        self.round = self.round.max(ballot.round);
        if ballot < self.promised {
            return Out::new(); // it tries again with a later one
        }
        self.promised = ballot;
        let accepted = self.accepted.clone();
        vec![(
            from.node.clone(),
            QuorumMessage::Promise {
                slot,
                ballot,
                accepted,
            },
        )]
    }

    pub(super) fn on_accept_epoch(&mut self, from: &Voter, ballot: Ballot, epoch: Epoch) -> Out {
        let slot = epoch.number;
        if let Some(out) = self.is_other_slot(from, slot) {
            return out;
        }
        self.round = self.round.max(ballot.round);
        if ballot < self.promised {
            return Out::new();
        }
        self.promised = ballot;
        self.accepted = Some((ballot, epoch));
        vec![(from.node.clone(), QuorumMessage::AcceptedEpoch { slot, ballot })]
    }

    pub(super) fn on_promise(
        &mut self,
        from: &Voter,
        slot: u64,
        ballot: Ballot,
        accepted: Option<(Ballot, Epoch)>,
    ) -> Out {
        let Some(campaign) = self.campaign.as_mut().filter(|campaign| {
            campaign.ballot == ballot && campaign.want.number == slot && campaign.proposed.is_none()
        }) else {
            return Out::new();
        };
        campaign.promises.insert(from.clone(), accepted);
        if !campaign
            .acceptors
            .is_reached(|voter| campaign.promises.contains_key(voter))
        {
            return Out::new();
        }
        let of_acceptors = campaign
            .promises
            .iter()
            .filter(|(voter, _)| campaign.acceptors.contains(voter));
        let earlier = of_acceptors.filter_map(|(_, accepted)| accepted.as_ref());
        let latest = earlier.max_by_key(|(ballot, _)| *ballot);
        let epoch = latest.map_or(&campaign.want, |(_, epoch)| epoch).clone();
        campaign.proposed = Some(epoch.clone());
        let acceptors = campaign.acceptors.clone();
        self.send_to_acceptors(&acceptors, &QuorumMessage::AcceptEpoch { ballot, epoch })
    }

    pub(super) fn on_accepted_epoch(&mut self, from: &Voter, slot: u64, ballot: Ballot) -> Out {
        let Some(campaign) = self
            .campaign
            .as_mut()
            .filter(|campaign| campaign.ballot == ballot && campaign.want.number == slot)
        else {
            return Out::new();
        };
        let Some(epoch) = campaign.proposed.clone() else {
            return Out::new();
        };
        campaign.accepts.insert(from.clone());
        if !campaign
            .acceptors
            .is_reached(|voter| campaign.accepts.contains(voter))
        {
            return Out::new();
        }
        let sets = epoch.reads.iter().chain([&epoch.voters, &campaign.acceptors]);
        let all: BTreeSet<_> = sets.flat_map(|set| &set.voters).map(|v| v.node.clone()).collect();
        self.adopt(epoch.clone());
        let others = all.into_iter().filter(|node| *node != self.me.node);
        others
            .map(|node| (node, QuorumMessage::Chosen(epoch.clone())))
            .collect()
    }

    /// An epoch was chosen. Says whether that is news.
    pub(super) fn adopt(&mut self, epoch: Epoch) -> bool {
        if epoch.number <= self.number() {
            return false;
        }
        self.current = Some(epoch);
        self.promised = Ballot { round: 0, memory: 0 };
        self.accepted = None;
        self.campaign = None;
        self.wanted = None;
        let forgotten = std::mem::take(&mut self.forgotten);
        self.forgotten = forgotten
            .into_iter()
            .filter(|voter| self.is_in_epoch(voter))
            .collect();
        true
    }

    /// This node has another memory from now on.
    pub(super) fn rename(&mut self, memory: u64) {
        self.me.memory = memory;
        self.campaign = None;
        self.accepted = None;
    }
}

#[cfg(test)]
mod tests;
