//! The owner's side: one round at a time for each key, with the voters of the epoch.
//!
//! ```text
//! read from a majority ──► have it hold what was found ──► decide ──► have a majority hold it ──► commit, answer
//!       (once in an epoch, for each key)                     ▲                                       │
//!                                                            └──────── the next proposal ◄───────────┘
//! ```
//! That a condition does not hold is confirmed by a majority too: the owner may have been followed by another one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::conditional::owner::Proposer;
use crate::engine::sessions::{Made, Refused};
use crate::replication::proposal::{Proposal, Verdict};
use crate::replication::quorum::{QuorumMessage, Rank, Voter, VoterSet};
use crate::session::Record;

/// The most keys with a round under way. A proposal for one more is refused with [`Refused::NoQuorum`].
const ROUNDS_MAX: usize = 4096;
/// The most proposals that wait for rounds. One more is refused so as well.
const WAITING_MAX: usize = 16_384;
/// How long a round may take. Shorter than a caller waits.
const ROUND_PATIENCE: Duration = Duration::from_secs(2);
/// How long a voter has for its answer before it is asked again.
const RESEND: Duration = Duration::from_millis(250);

/// What a round waits for.
#[derive(Debug)]
enum Stage {
    /// What others hold of the key.
    Reading {
        request: u64,
        best: Option<(Rank, Record)>,
    },
    /// That a majority holds a value: what was found, or what follows from a proposal.
    Holding {
        rank: Rank,
        outcome: Option<(Proposer, Result<Made, Refused>)>,
    },
}

#[derive(Debug)]
struct Round {
    stage: Stage,
    answered: BTreeSet<Voter>,
    until: Duration,
    again: Duration,
    queue: VecDeque<(Proposer, Proposal)>,
}

/// Every round under way.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    all: BTreeMap<SessionKey, Round>,
    /// The keys of rounds that wait until a value is held, by its sequence.
    holding: BTreeMap<u64, SessionKey>,
    waiting: usize,
    sequence: u64,
}

impl Rounds {
    pub(super) fn has(&self, key: &SessionKey) -> bool {
        self.all.contains_key(key)
    }

    /// Takes a proposal for a key with a round under way, or gives it back.
    fn queue(
        &mut self,
        key: &SessionKey,
        proposer: Proposer,
        proposal: Proposal,
    ) -> Option<(Proposer, Proposal)> {
        let Some(round) = self.all.get_mut(key) else {
            return Some((proposer, proposal));
        };
        round.queue.push_back((proposer, proposal));
        self.waiting += 1;
        None
    }

    fn remove(&mut self, key: &SessionKey) -> Option<Round> {
        let round = self.all.remove(key)?;
        if let Stage::Holding { rank, .. } = &round.stage {
            self.holding.remove(&rank.sequence);
        }
        self.waiting -= round.queue.len();
        Some(round)
    }
}

impl Engine {
    /// This node, which owns the key, is to decide. The session is here, as far as its holders can be asked.
    pub(in crate::engine::conditional) fn decide_by_majority(
        &mut self,
        proposer: Proposer,
        key: &SessionKey,
        proposal: Proposal,
        now: Now,
    ) {
        let has_majority = self.has_majority();
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        if quorum.owner(key) != Some(quorum.me()) {
            return self.redirect(proposer, key, now);
        }
        let rounds = &mut quorum.rounds;
        if !has_majority || rounds.waiting >= WAITING_MAX {
            return self.answer(proposer, key, Err(Refused::NoQuorum), now);
        }
        let Some(first) = rounds.queue(key, proposer, proposal) else {
            return;
        };
        if rounds.all.len() >= ROUNDS_MAX {
            return self.answer(first.0, key, Err(Refused::NoQuorum), now);
        }
        rounds.waiting += 1;
        let number = quorum.epochs.number();
        let held = quorum.registers.get(key).filter(|held| held.rank.epoch == number);
        match held.map(|held| (held.is_decided, held.record.clone())) {
            None => self.begin_reading(key, VecDeque::from([first]), now),
            Some((true, _)) => self.decide_next(key, VecDeque::from([first]), now),
            Some((false, record)) => {
                self.begin_holding(key, &record, None, VecDeque::from([first]), now);
            }
        }
    }

    fn begin_reading(&mut self, key: &SessionKey, queue: VecDeque<(Proposer, Proposal)>, now: Now) {
        let request = self.ids.next_request();
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let held = quorum.registers.get(key);
        let round = Round {
            stage: Stage::Reading {
                request,
                best: held.map(|held| (held.rank, held.record.clone())),
            },
            answered: BTreeSet::from([quorum.me().clone()]),
            until: now.mono + ROUND_PATIENCE,
            again: now.mono,
            queue,
        };
        quorum.rounds.all.insert(key.clone(), round);
        self.ask_voters(key, now);
        self.end_reading(key, now);
    }

    /// Has a majority hold `record`, this node first.
    fn begin_holding(
        &mut self,
        key: &SessionKey,
        record: &Record,
        outcome: Option<(Proposer, Result<Made, Refused>)>,
        queue: VecDeque<(Proposer, Proposal)>,
        now: Now,
    ) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        quorum.rounds.sequence += 1;
        let rank = Rank {
            epoch: quorum.epochs.number(),
            sequence: quorum.rounds.sequence,
        };
        if !quorum.registers.hold(key, rank, record, now.mono) {
            quorum.rounds.waiting -= queue.len();
            let refused = outcome.map(|(proposer, _)| proposer);
            for proposer in refused
                .into_iter()
                .chain(queue.into_iter().map(|(proposer, _)| proposer))
            {
                self.answer(proposer, key, Err(Refused::NoQuorum), now);
            }
            return;
        }
        let round = Round {
            stage: Stage::Holding { rank, outcome },
            answered: BTreeSet::from([quorum.me().clone()]),
            until: now.mono + ROUND_PATIENCE,
            again: now.mono,
            queue,
        };
        quorum.rounds.holding.insert(rank.sequence, key.clone());
        quorum.rounds.all.insert(key.clone(), round);
        self.ask_voters(key, now);
        self.end_holding(key, now);
    }

    /// Asks every voter that has not answered.
    fn ask_voters(&mut self, key: &SessionKey, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let (Some(epoch), Some(round)) = (quorum.epochs.current(), quorum.rounds.all.get_mut(key)) else {
            return;
        };
        round.again = now.mono + RESEND;
        let (body, record, former) = match &round.stage {
            Stage::Reading { request, .. } => {
                let read = QuorumMessage::Read {
                    epoch: epoch.number,
                    request: *request,
                };
                (read, Record::default(), epoch.reads.as_slice())
            }
            Stage::Holding { rank, .. } => {
                let held = quorum.registers.get(key).map(|held| held.record.clone());
                (
                    QuorumMessage::Accept(*rank),
                    held.unwrap_or_default(),
                    [].as_slice(),
                )
            }
        };
        let sets = former.iter().chain([&epoch.voters]);
        let all: BTreeSet<_> = sets.flat_map(|set| &set.voters).cloned().collect();
        let asked: Vec<_> = all.difference(&round.answered).map(|v| v.node.clone()).collect();
        for node in asked {
            self.send_quorum(&node, body.clone(), vec![(key.clone(), record.clone())]);
        }
    }

    pub(super) fn on_register(
        &mut self,
        from: &Voter,
        answers: u64,
        key: &SessionKey,
        found: Option<(Rank, Record)>,
        now: Now,
    ) {
        let Some(round) = self.round_of(key) else { return };
        let Stage::Reading { request, best } = &mut round.stage else {
            return;
        };
        if *request != answers || !round.answered.insert(from.clone()) {
            return;
        }
        if let Some((rank, record)) = found
            && best.as_ref().is_none_or(|(known, _)| *known < rank)
        {
            *best = Some((rank, record));
        }
        self.end_reading(key, now);
    }

    fn round_of(&mut self, key: &SessionKey) -> Option<&mut Round> {
        self.conditional.quorum.as_mut()?.rounds.all.get_mut(key)
    }

    fn end_reading(&mut self, key: &SessionKey, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let (Some(epoch), Some(round)) = (quorum.epochs.current(), quorum.rounds.all.get(key)) else {
            return;
        };
        let is_read = |set: &VoterSet| set.is_reached(|voter| round.answered.contains(voter));
        let is_read = is_read(&epoch.voters) && epoch.reads.iter().all(is_read);
        if !is_read || !matches!(round.stage, Stage::Reading { .. }) {
            return;
        }
        let Some(round) = quorum.rounds.remove(key) else {
            return;
        };
        quorum.rounds.waiting += round.queue.len();
        let Stage::Reading { best, .. } = round.stage else {
            return;
        };
        match best {
            Some((_, record)) if self.adds_to(key, &record) => {
                self.begin_holding(key, &record, None, round.queue, now);
            }
            _ => self.decide_next(key, round.queue, now),
        }
    }

    /// Whether the table lacks some of `record`.
    fn adds_to(&self, key: &SessionKey, record: &Record) -> bool {
        let mut known = self.table.get(key).cloned().unwrap_or_default();
        known.join(record)
    }

    pub(super) fn on_accepted(&mut self, from: &Voter, accepted: Rank, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let Some(key) = quorum.rounds.holding.get(&accepted.sequence).cloned() else {
            return; // too late
        };
        let Some(round) = quorum.rounds.all.get_mut(&key) else {
            return;
        };
        if matches!(&round.stage, Stage::Holding { rank, .. } if *rank == accepted) {
            round.answered.insert(from.clone());
            self.end_holding(&key, now);
        }
    }

    fn end_holding(&mut self, key: &SessionKey, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let (Some(epoch), Some(round)) = (quorum.epochs.current(), quorum.rounds.all.get(key)) else {
            return;
        };
        if !epoch.voters.is_reached(|voter| round.answered.contains(voter)) {
            return;
        }
        let Some(round) = quorum.rounds.remove(key) else {
            return;
        };
        quorum.rounds.waiting += round.queue.len();
        let Stage::Holding { rank, outcome } = round.stage else {
            return;
        };
        quorum.registers.note_decided(key, rank);
        if let Some((proposer, result)) = outcome {
            self.answer(proposer, key, result, now);
        }
        self.decide_next(key, round.queue, now);
    }

    /// Joins what was decided for a key into the table, where that lacks it. Says whether it has all of it then.
    fn commit_decided(&mut self, key: &SessionKey, now: Now) -> bool {
        let held = self
            .conditional
            .quorum
            .as_ref()
            .and_then(|quorum| quorum.registers.get(key));
        let Some(record) = held
            .filter(|held| held.is_decided)
            .map(|held| held.record.clone())
        else {
            return true;
        };
        if !self.adds_to(key, &record) {
            return true;
        }
        if let Err(error) = self.hlc.observe(record.latest(), self.members.time_ms(now)) {
            self.counters.skew_refused += 1;
            tracing::warn!(%error, "refused what was decided about a session");
            return false;
        }
        let version = record.version();
        self.commit(key, record, version, now);
        true
    }

    /// Decides the next proposal. The owner has read the key in this epoch, and a majority holds what it found.
    fn decide_next(&mut self, key: &SessionKey, mut queue: VecDeque<(Proposer, Proposal)>, now: Now) {
        let is_whole = self.commit_decided(key, now);
        while let Some((proposer, proposal)) = queue.pop_front() {
            if let Some(quorum) = &mut self.conditional.quorum {
                quorum.rounds.waiting -= 1;
            }
            if !is_whole {
                self.answer(proposer, key, Err(Refused::Unreachable), now);
                continue;
            }
            let made = match self.check_condition(key, proposal.condition, now) {
                Ok(()) => self.delta_of(key, proposal.change, now),
                Err(refused) => Err(refused),
            };
            let mut value = self.table.get(key).cloned().unwrap_or_default();
            match &made {
                Ok(made) => {
                    value.join(&made.delta);
                }
                Err(Refused::Unmet | Refused::NotFound) => {}
                Err(_) => {
                    self.answer(proposer, key, made, now);
                    continue;
                }
            }
            return self.begin_holding(key, &value, Some((proposer, made)), queue, now);
        }
    }

    /// Asks again, and gives up what has taken too long.
    pub(super) fn progress_rounds(&mut self, now: Now) {
        let Some(quorum) = &self.conditional.quorum else {
            return;
        };
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for (key, round) in &quorum.rounds.all {
            if now.mono >= round.until {
                over.push(key.clone());
            } else if now.mono >= round.again {
                again.push(key.clone());
            }
        }
        for key in again {
            self.ask_voters(&key, now);
        }
        for key in over {
            let Some(quorum) = &mut self.conditional.quorum else {
                return;
            };
            let Some(round) = quorum.rounds.remove(&key) else {
                continue;
            };
            if let Stage::Holding {
                outcome: Some((proposer, made)),
                ..
            } = round.stage
            {
                let refused = if made.is_ok() {
                    Refused::Undecided
                } else {
                    Refused::NoQuorum
                };
                self.answer(proposer, &key, Err(refused), now);
            }
            for (proposer, _) in round.queue {
                self.answer(proposer, &key, Err(Refused::NoQuorum), now);
            }
        }
    }

    /// Another epoch begins: whoever waits asks its owner.
    pub(super) fn end_rounds(&mut self, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let rounds = std::mem::take(&mut quorum.rounds.all);
        quorum.rounds.holding.clear();
        quorum.rounds.waiting = 0;
        for (key, round) in rounds {
            if let Stage::Holding {
                outcome: Some((proposer, made)),
                ..
            } = round.stage
            {
                if made.is_ok() {
                    self.answer(proposer, &key, Err(Refused::Undecided), now);
                } else {
                    self.answer(proposer, &key, Err(Refused::NoQuorum), now);
                }
            }
            for (proposer, _) in round.queue {
                self.redirect(proposer, &key, now);
            }
        }
    }

    /// Has a proposer ask the owner there is by now.
    fn redirect(&mut self, proposer: Proposer, key: &SessionKey, now: Now) {
        match proposer {
            Proposer::Own(id) => self.ask_later(id, now),
            Proposer::Peer(node, request) => {
                self.send_verdict(&node, request, key, Verdict::NotOwner, Record::default());
            }
        }
    }
}
