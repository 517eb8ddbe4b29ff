//! Conditional changes that are decided by a majority: of several callers one has its way, across cuts, restarts and
//! changes of view.
//!
//! ```text
//! epochs     who decides, and whose agreement that takes: one epoch of each number (Paxos)
//! registers  what a voter was asked to hold, key by key
//! rounds     the owner of a key: read from a majority, then have a majority hold what it decides
//! voting     the answers of a voter; how one gets what former voters hold
//! ```
//! *Voters* are members with their memories: one that restarts has another memory and is another voter. An *epoch* names
//! the voters, and the *owners* among whom the keys are divided. In one epoch a key has one owner, who proposes values for
//! it one after the other; a value's *rank* is the epoch and the owner's count. A value is the whole session.
//!
//! Why no two changes win on one state of a session:
//!
//! 1. Of each number there is one epoch. Epoch n + 1 is chosen by Paxos (Lamport 2001) among the voters of epoch n, so two
//!    proposers choose the same. The first one takes all the nodes the cluster is founded with.
//! 2. A voter in epoch n refuses values and reads of earlier epochs, and holds no value of a lower rank than it holds.
//! 3. Before its first value for a key in an epoch, the owner reads the key from a majority. Those are in this epoch from
//!    then on, so whatever an earlier epoch has not decided by then it never will: two majorities have a voter in common.
//!    What an earlier epoch has decided is what the highest rank among the answers holds, or is contained in that
//!    (as in Paxos, and in `CASPaxos`, Rystsov 2018, by whose rules values change).
//! 4. The owner first has a majority hold that value under its own epoch, and only then decides on it. Every later value
//!    contains the one before.
//! 5. Nothing of a register enters the session table before it is decided; so nothing that failed comes back by repair.
//!    What is in tables was decided or unconditional, and may be joined by anybody.
//! 6. When voters change, the epoch names the former ones too, and keys are read from a majority of each set. Every new
//!    voter copies the registers of a majority of each. When a majority of the new voters has done so, everything that was
//!    decided is at a majority of them, and the next epoch drops the former sets (joint consensus, as in Raft).
//! 7. A node that lost its memory is a new voter, so it counts for nothing that it acknowledged before. (Viewstamped
//!    Replication Revisited recovers under the old name and has to tell the two apart.)
//!
//! A member that is dead counts until an operator says so ([`Engine::forget_member`]). Who is left then has to agree as
//! before, or all of them where those are fewer. That a forgotten member is dead is the operator's promise: were more than
//! half of the voters forgotten on one side of a cut and alive on the other, both sides would decide.
//!
//! Registers are kept while the session lives and as long afterwards as a tombstone. Rounds and what waits for them are
//! bounded; what does not fit is answered as if there were no majority.

mod epochs;
mod registers;
mod rounds;
mod voting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limpet_wire::placement::Scores;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::{Engine, EngineConfig, Phase};
use crate::replication::message::Message;
use crate::replication::quorum::{Epoch, QuorumMessage, Voter};
use crate::session::Record;

/// How often a node tells the others what it knows.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// What another member said of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    memory: u64,
    epoch: u64,
    synced: u64,
    /// Whether it has said which epoch it has.
    told: bool,
}

/// See the module page.
#[derive(Debug)]
pub(in crate::engine) struct Quorum {
    epochs: epochs::Epochs,
    registers: registers::Registers,
    known: BTreeMap<NodeId, Known>,
    rounds: rounds::Rounds,
    sync: voting::Sync,
    next_status: Duration,
    /// Up to which key registers were looked at whether they are needed.
    swept: Option<SessionKey>,
}

/// What there is to say of the majority, to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumStatus {
    /// The number of the epoch; 0 before the cluster was founded.
    pub epoch: u64,
    /// How many members count.
    pub voters: usize,
    /// How many of them have to agree.
    pub needed: usize,
    /// Those of them that cannot be reached from here, or have lost their memory.
    pub missing: Vec<NodeId>,
    /// Whether enough can be reached.
    pub has_majority: bool,
    /// How many sessions this node holds decisions of.
    pub registers: usize,
}

/// Why a member is not forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotForgotten {
    /// Conditional changes are not decided by majority.
    #[error(
        "session_server.conditional is \"available\": no member counts that is not there, and none needs to be forgotten"
    )]
    NoQuorum,
    /// Nobody counts a member of this name.
    #[error("no member of this name counts towards the majority")]
    Unknown,
    /// It is alive.
    #[error("this member is alive; stop it first")]
    Alive,
}

impl Quorum {
    pub(super) fn new(config: &EngineConfig, founders: usize, now: Now) -> Self {
        let at = u64::try_from(now.mono.as_micros()).unwrap_or(u64::MAX);
        let me = Voter {
            node: config.node.clone(),
            memory: mixed(config.seed ^ now.wall_ms.rotate_left(20) ^ at.rotate_left(40)),
        };
        Self {
            epochs: epochs::Epochs::new(me, founders),
            registers: registers::Registers::default(),
            known: BTreeMap::new(),
            rounds: rounds::Rounds::default(),
            sync: voting::Sync::default(),
            next_status: now.mono,
            swept: None,
        }
    }

    fn me(&self) -> &Voter {
        self.epochs.me()
    }

    fn epoch(&self) -> Option<&Epoch> {
        self.epochs.current()
    }

    /// The owner of `key` in the present epoch.
    pub(super) fn owner(&self, key: &SessionKey) -> Option<&Voter> {
        let scores = Scores::of(key.app(), key.id());
        let owners = self.epoch()?.owners.iter();
        owners.max_by(|a, b| {
            let by_score = scores.node(a.node.as_str()).cmp(&scores.node(b.node.as_str()));
            by_score.then_with(|| b.cmp(a))
        })
    }

    /// Whether `node` is the voter that it was when it was last heard.
    fn is_voter(&self, voter: &Voter) -> bool {
        voter == self.me()
            || self
                .known
                .get(&voter.node)
                .is_some_and(|known| known.memory == voter.memory)
    }
}

/// Another number for each number (`SplitMix64`).
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Engine {
    /// Whether changes are decided by majority.
    pub(in crate::engine) const fn needs_quorum(&self) -> bool {
        self.conditional.quorum.is_some()
    }

    /// Whether `voter` is linked, and the process that it was.
    fn is_reached(&self, voter: &Voter) -> bool {
        let Some(quorum) = &self.conditional.quorum else {
            return false;
        };
        let linked = |node: &NodeId| {
            self.members
                .roster()
                .get(node)
                .is_some_and(|member| member.linked)
        };
        quorum.is_voter(voter) && (voter == quorum.me() || linked(&voter.node))
    }

    /// Whether enough voters can be reached to decide anything.
    pub(super) fn has_majority(&self) -> bool {
        let epoch = self.conditional.quorum.as_ref().and_then(|quorum| quorum.epoch());
        epoch.is_some_and(|epoch| {
            let mut sets = epoch.reads.iter().chain([&epoch.voters]);
            sets.all(|set| set.is_reached(|voter| self.is_reached(voter)))
        })
    }

    /// The number of the epoch by which this node decides with others; 0 for none.
    #[must_use]
    pub fn quorum_epoch(&self) -> u64 {
        self.conditional
            .quorum
            .as_ref()
            .map_or(0, |quorum| quorum.epochs.number())
    }

    /// How the majority is; `None` where changes are decided by the view of the owner.
    #[must_use]
    pub fn quorum_status(&self) -> Option<QuorumStatus> {
        let quorum = self.conditional.quorum.as_ref()?;
        let set = quorum.epoch().map(|epoch| epoch.voters.clone());
        let sets = quorum.epoch().into_iter();
        let sets = sets.flat_map(|epoch| epoch.reads.iter().chain([&epoch.voters]));
        let missing = sets
            .flat_map(|set| &set.voters)
            .filter(|voter| !self.is_reached(voter));
        let missing: BTreeSet<_> = missing.map(|voter| voter.node.clone()).collect();
        Some(QuorumStatus {
            epoch: quorum.epochs.number(),
            voters: set.as_ref().map_or(0, |set| set.voters.len()),
            needed: set.as_ref().map_or(quorum.epochs.founders(), |set| {
                usize::try_from(set.needed).unwrap_or(usize::MAX)
            }),
            missing: missing.into_iter().collect(),
            has_majority: self.has_majority(),
            registers: quorum.registers.len(),
        })
    }

    /// An operator says that `node` is dead: it does not count any more, and what it alone held is lost.
    ///
    /// # Errors
    /// See [`NotForgotten`].
    pub fn forget_member(&mut self, node: &NodeId) -> Result<(), NotForgotten> {
        let quorum = self.conditional.quorum.as_ref().ok_or(NotForgotten::NoQuorum)?;
        let epoch = quorum.epoch().ok_or(NotForgotten::Unknown)?;
        let sets = epoch.reads.iter().chain([&epoch.voters]);
        let all = sets
            .flat_map(|set| &set.voters)
            .filter(|voter| voter.node == *node);
        let all: BTreeSet<_> = all.cloned().collect();
        if all.is_empty() {
            return Err(NotForgotten::Unknown);
        }
        if all.iter().any(|voter| self.is_reached(voter)) {
            return Err(NotForgotten::Alive);
        }
        for voter in all {
            self.forget_voter(voter);
        }
        Ok(())
    }

    /// Tells everybody whom it is news to.
    fn forget_voter(&mut self, voter: Voter) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        if quorum.epochs.forget(voter.clone()) {
            tracing::warn!(peer = %voter.node, "an operator says that this member is dead; it does not count towards the majority any more");
            self.counters.members_forgotten += 1;
            self.tell_forgotten(&voter.node);
            self.send_quorum_to_all(&QuorumMessage::Forget(voter));
        }
    }

    fn send_quorum(&mut self, node: &NodeId, body: QuorumMessage, records: Vec<(SessionKey, Record)>) {
        let Some(quorum) = &self.conditional.quorum else {
            return;
        };
        let memory = quorum.me().memory;
        self.send(
            node,
            Message::Quorum {
                memory,
                body,
                records,
            },
        );
    }

    fn send_quorum_to_all(&mut self, body: &QuorumMessage) {
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        for node in nodes {
            self.send_quorum(&node, body.clone(), Vec::new());
        }
    }

    fn send_out(&mut self, out: epochs::Out) {
        for (node, message) in out {
            self.send_quorum(&node, message, Vec::new());
        }
    }

    /// A message of a voter arrived.
    pub(in crate::engine) fn on_quorum(
        &mut self,
        node: &NodeId,
        memory: u64,
        body: QuorumMessage,
        records: Vec<(SessionKey, Record)>,
        now: Now,
    ) {
        let admitted = records.iter().all(|(key, _)| self.intake.admits(key));
        if !self.members.trusts(node, now) || !admitted {
            return; // it is said again
        }
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let from = Voter {
            node: node.clone(),
            memory,
        };
        quorum.known.entry(node.clone()).or_default().memory = memory;
        let number = quorum.epochs.number();
        let out = match body {
            QuorumMessage::Status { epoch, synced } => {
                quorum.known.insert(
                    node.clone(),
                    Known {
                        memory,
                        epoch,
                        synced,
                        told: true,
                    },
                );
                match quorum.epoch() {
                    Some(mine) if mine.number > epoch => {
                        vec![(node.clone(), QuorumMessage::Chosen(mine.clone()))]
                    }
                    _ => Vec::new(),
                }
            }
            QuorumMessage::Prepare { slot, ballot } => quorum.epochs.on_prepare(&from, slot, ballot),
            QuorumMessage::Promise {
                slot,
                ballot,
                accepted,
            } => quorum.epochs.on_promise(&from, slot, ballot, accepted),
            QuorumMessage::AcceptEpoch { ballot, epoch } => {
                quorum.epochs.on_accept_epoch(&from, ballot, epoch)
            }
            QuorumMessage::AcceptedEpoch { slot, ballot } => {
                quorum.epochs.on_accepted_epoch(&from, slot, ballot)
            }
            QuorumMessage::Chosen(epoch) => {
                self.adopt_epoch(epoch);
                Vec::new()
            }
            QuorumMessage::Forget(voter) => {
                self.forget_voter(voter);
                Vec::new()
            }
            body => {
                self.on_voting(&from, body, records, now);
                Vec::new()
            }
        };
        self.send_out(out);
        self.note_epoch(number, now);
    }

    fn adopt_epoch(&mut self, epoch: Epoch) {
        let leaving = self.phase == Phase::Leaving;
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let me = quorum.me().clone();
        let counted = quorum.epochs.is_in_epoch(&me);
        if quorum.epochs.adopt(epoch) && counted && !quorum.epochs.is_in_epoch(&me) && !leaving {
            // An operator said that this node is dead. What it was asked to hold is of a history that ended.
            tracing::error!("was forgotten by an operator while it was alive; counts as a new member");
            quorum.epochs.rename(mixed(me.memory));
            quorum.registers = registers::Registers::default();
        }
    }

    /// Ends what belongs to an epoch before the present one, if that was `number`.
    fn note_epoch(&mut self, number: u64, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let Some(epoch) = quorum.epochs.current().filter(|epoch| epoch.number != number) else {
            return;
        };
        tracing::info!(
            epoch = epoch.number,
            voters = epoch.voters.voters.len(),
            owners = epoch.owners.len(),
            "a majority has agreed on who decides"
        );
        quorum.next_status = now.mono;
        self.end_rounds(now);
    }

    /// What this node sees of the others.
    fn epochs_view(&self) -> epochs::View {
        let mut view = epochs::View::default();
        let Some(quorum) = &self.conditional.quorum else {
            return view;
        };
        let since = quorum.epoch().map(|epoch| epoch.since);
        view.may_have_epoch = self.shortfall().is_some();
        for (node, member) in self.members.roster().iter() {
            if member.leaving {
                view.left.insert(node.clone());
            }
            let known = quorum.known.get(node).filter(|_| member.linked);
            let has_told = known.is_some_and(|known| known.told);
            view.may_have_epoch |= member.linked && member.ready && !has_told;
            let Some(known) = known else {
                continue;
            };
            let memory = known.memory;
            let voter = Voter {
                node: node.clone(),
                memory,
            };
            view.may_have_epoch |= known.epoch > 0;
            if Some(known.synced) == since {
                view.synced.insert(voter.clone());
            }
            if member.active && member.ready && !member.leaving {
                view.present.insert(voter);
            }
        }
        if self.phase == Phase::Ready {
            view.present.insert(quorum.me().clone());
        }
        if Some(quorum.sync.synced()) == since {
            view.synced.insert(quorum.me().clone());
        }
        view
    }

    /// Whether a node that leaves still counts: it waits until the others go on without it, as long as there are any that
    /// stay, and they can agree on that.
    pub(in crate::engine) fn is_still_counted(&self) -> bool {
        let Some(quorum) = &self.conditional.quorum else {
            return false;
        };
        let mut others = self.members.roster().active();
        quorum.epochs.is_in_epoch(quorum.me())
            && others.any(|(_, member)| member.ready && member.linked)
            && self.has_majority()
    }

    /// Time passes.
    pub(in crate::engine) fn progress_quorum(&mut self, now: Now) {
        if !self.needs_quorum() {
            return;
        }
        let view = self.epochs_view();
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let number = quorum.epochs.number();
        let roster = self.members.roster();
        quorum.known.retain(|node, _| roster.get(node).is_some());
        let out = quorum.epochs.tick(&view, now.mono);
        self.send_out(out);
        self.note_epoch(number, now);
        self.progress_sync(now);
        self.progress_rounds(now);
        self.sweep_registers(now);
        self.send_status(now);
    }

    fn send_status(&mut self, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        if now.mono < quorum.next_status {
            return;
        }
        quorum.next_status = now.mono + STATUS_INTERVAL;
        let status = QuorumMessage::Status {
            epoch: quorum.epochs.number(),
            synced: quorum.sync.synced(),
        };
        let forgotten: Vec<_> = quorum.epochs.forgotten().iter().cloned().collect();
        self.send_quorum_to_all(&status);
        for voter in forgotten {
            self.send_quorum_to_all(&QuorumMessage::Forget(voter));
        }
    }
}
