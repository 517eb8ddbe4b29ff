//! The voter's side: answers to owners, and the copies that a voter makes of what former voters hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::base::limits::CHUNK_BYTES;
use crate::engine::Engine;
use crate::replication::quorum::{PAGE_MAX, QuorumMessage, Rank, Voter};
use crate::session::Record;

/// How long a page is waited for before it is asked for again.
const PAGE_TIMEOUT: Duration = Duration::from_millis(500);
/// How many registers one call looks at whether they are still needed.
const SWEPT_MAX: usize = 64;
/// How long a register is kept at least after its session's idle lifetime is over: nodes' times are not the same.
const SWEEP_MARGIN_MS: u64 = 120_000;

/// How far this node has come with copying what former voters hold.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// [`crate::replication::quorum::Epoch::since`] of the last for which that is done.
    synced: u64,
    /// Of the one it is under way for.
    since: u64,
    done: BTreeSet<Voter>,
    /// How far each of the others has told, and when to ask again.
    asked: BTreeMap<Voter, (Option<SessionKey>, Duration)>,
}

impl Sync {
    pub(super) const fn synced(&self) -> u64 {
        self.synced
    }
}

impl Engine {
    /// A message about keys arrived.
    pub(super) fn on_voting(
        &mut self,
        from: &Voter,
        body: QuorumMessage,
        mut records: Vec<(SessionKey, Record)>,
        now: Now,
    ) {
        match body {
            QuorumMessage::Read { epoch, request } => {
                if let Some((key, _)) = records.pop() {
                    self.on_read(from, epoch, request, &key);
                }
            }
            QuorumMessage::Accept(rank) => {
                if let Some((key, record)) = records.pop() {
                    self.on_accept(from, rank, &key, &record, now);
                }
            }
            QuorumMessage::Register { request, rank } => {
                if let Some((key, record)) = records.pop() {
                    let found = rank.map(|rank| (rank, record));
                    self.on_register(from, request, &key, found, now);
                }
            }
            QuorumMessage::Accepted(rank) => self.on_accepted(from, rank, now),
            QuorumMessage::Pull { epoch } => {
                let after = records.pop().map(|(key, _)| key);
                self.on_register_pull(from, epoch, after.as_ref());
            }
            QuorumMessage::Page { epoch, ranks, last } => {
                self.on_page(from, epoch, &ranks, records, last, now);
            }
            _ => {}
        }
    }

    /// Whether this node may answer something about epoch `number`; if not, says so.
    fn is_in_epoch(&mut self, from: &Voter, number: u64) -> bool {
        let Some(quorum) = &self.conditional.quorum else {
            return false;
        };
        let mine = quorum.epochs.number();
        if mine == number {
            return true;
        }
        let answer = match quorum.epoch() {
            Some(epoch) if mine > number => QuorumMessage::Chosen(epoch.clone()),
            _ => QuorumMessage::Status {
                epoch: mine,
                synced: quorum.sync.synced(),
            },
        };
        self.send_quorum(&from.node, answer, Vec::new());
        false
    }

    fn on_read(&mut self, from: &Voter, epoch: u64, request: u64, key: &SessionKey) {
        if !self.is_in_epoch(from, epoch) {
            return;
        }
        let Some(quorum) = &self.conditional.quorum else {
            return;
        };
        if quorum.owner(key) != Some(from) || !quorum.epochs.is_in_epoch(quorum.me()) {
            return;
        }
        let held = quorum.registers.get(key);
        let rank = held.map(|held| held.rank);
        let record = held.map(|held| held.record.clone()).unwrap_or_default();
        let answer = QuorumMessage::Register { request, rank };
        self.send_quorum(&from.node, answer, vec![(key.clone(), record)]);
    }

    fn on_accept(&mut self, from: &Voter, rank: Rank, key: &SessionKey, record: &Record, now: Now) {
        if !self.is_in_epoch(from, rank.epoch) {
            return;
        }
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let votes = quorum
            .epoch()
            .is_some_and(|epoch| epoch.voters.contains(quorum.me()));
        if votes && quorum.owner(key) == Some(from) && quorum.registers.hold(key, rank, record, now.mono) {
            self.send_quorum(&from.node, QuorumMessage::Accepted(rank), Vec::new());
        }
    }

    /// `from` copies what is held here. Only who is in its epoch tells: nothing of an earlier one is accepted afterwards.
    fn on_register_pull(&mut self, from: &Voter, epoch: u64, after: Option<&SessionKey>) {
        let Some(quorum) = &self.conditional.quorum else {
            return;
        };
        if quorum.epochs.number() < epoch {
            self.is_in_epoch(from, epoch);
            return;
        }
        let (mut ranks, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut rest = quorum.registers.after(after);
        let mut last = true;
        for (key, register) in &mut rest {
            bytes += register.record.size();
            ranks.push(register.rank);
            records.push((key.clone(), register.record.clone()));
            if bytes >= CHUNK_BYTES || ranks.len() >= PAGE_MAX {
                last = false;
                break;
            }
        }
        drop(rest);
        let page = QuorumMessage::Page { epoch, ranks, last };
        self.send_quorum(&from.node, page, records);
    }

    fn on_page(
        &mut self,
        from: &Voter,
        epoch: u64,
        ranks: &[Rank],
        records: Vec<(SessionKey, Record)>,
        last: bool,
        now: Now,
    ) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let number = quorum.epochs.number();
        let Some((told, again)) = quorum.sync.asked.get_mut(from) else {
            return;
        };
        let first = records.first().map(|(key, _)| key);
        let is_next = first.is_none_or(|first| told.as_ref().is_none_or(|told| told < first));
        if number < epoch || epoch < quorum.sync.since || ranks.len() != records.len() || !is_next {
            return; // of another time
        }
        *again = now.mono;
        let mut fits = true;
        for ((key, record), rank) in records.into_iter().zip(ranks) {
            *told = Some(key.clone());
            let known = quorum.registers.get(&key).is_some_and(|held| held.rank >= *rank);
            fits &= known || quorum.registers.hold(&key, *rank, &record, now.mono);
        }
        if !fits {
            tracing::warn!("decisions of former members do not fit; this node lacks some of them");
            *told = None;
            *again = now.mono + 10 * PAGE_TIMEOUT;
        } else if last {
            quorum.sync.asked.remove(from);
            quorum.sync.done.insert(from.clone());
        }
        self.progress_sync(now);
    }

    /// Asks former voters for what they hold, until that is enough.
    pub(super) fn progress_sync(&mut self, now: Now) {
        let Some(quorum) = &mut self.conditional.quorum else {
            return;
        };
        let Some(epoch) = quorum.epochs.current() else {
            return;
        };
        let (since, number) = (epoch.since, epoch.number);
        if quorum.sync.synced == since || !epoch.voters.contains(quorum.epochs.me()) {
            return;
        }
        let sync = &mut quorum.sync;
        if sync.since != since {
            sync.since = since;
            sync.asked.clear();
            sync.done.clear();
            sync.done.insert(quorum.epochs.me().clone());
        }
        if epoch
            .reads
            .iter()
            .all(|set| set.is_reached(|voter| sync.done.contains(voter)))
        {
            sync.synced = since;
            sync.asked.clear();
            quorum.next_status = now.mono;
            return;
        }
        let all: BTreeSet<_> = epoch.reads.iter().flat_map(|set| &set.voters).cloned().collect();
        let all: Vec<_> = all.into_iter().filter(|voter| self.is_reached(voter)).collect();
        let mut pulls = Vec::new();
        if let Some(quorum) = &mut self.conditional.quorum {
            for voter in all {
                if quorum.sync.done.contains(&voter) {
                    continue;
                }
                let (told, again) = quorum.sync.asked.entry(voter.clone()).or_insert((None, now.mono));
                if now.mono >= *again {
                    *again = now.mono + PAGE_TIMEOUT;
                    pulls.push((voter.node, told.clone()));
                }
            }
        }
        for (node, told) in pulls {
            let after = told.map(|key| (key, Record::default())).into_iter().collect();
            self.send_quorum(&node, QuorumMessage::Pull { epoch: number }, after);
        }
    }

    /// Lets go of registers of sessions that are over.
    pub(super) fn sweep_registers(&mut self, now: Now) {
        let Some(quorum) = &self.conditional.quorum else {
            return;
        };
        let time_ms = self.members.time_ms(now);
        let mut over = Vec::new();
        let mut last = None;
        let mut seen = 0;
        for (key, register) in quorum.registers.after(quorum.swept.as_ref()).take(SWEPT_MAX) {
            seen += 1;
            last = Some(key.clone());
            let known = self.table.get(key);
            let is_idle = |record: &Record| {
                let end = self.expires_ms(record);
                end.is_some_and(|end| end.saturating_add(SWEEP_MARGIN_MS) < time_ms)
            };
            let lives_here = known.is_some_and(|known| known.is_alive() && !is_idle(known));
            let quiet = now.mono.saturating_sub(register.at);
            let has_left = |life| known.is_some_and(|known| known.lifecycle.is_over(life));
            // A register that says that a session lives must not outlast the tombstone of a deletion that voters are not
            // asked about.
            let is_over = if register.record.is_alive() {
                is_idle(&register.record)
                    || register.record.life().is_some_and(has_left)
                    || quiet >= self.config.tombstone_life / 2
            } else {
                quiet >= self.config.tombstone_life
            };
            if !lives_here && is_over && !quorum.rounds.has(key) {
                over.push(key.clone());
            }
        }
        if let Some(quorum) = &mut self.conditional.quorum {
            quorum.swept = last.filter(|_| seen == SWEPT_MAX);
            for key in over {
                quorum.registers.remove(&key);
            }
        }
    }
}
