//! A seed: a name by which other nodes are found. It is resolved again and again, in rounds, and each of its addresses is
//! dialled where nothing is linked: a seed is how a partition that outlasted everybody's memory heals.
//!
//! Resolving names and dialling addresses are the keeper's and its shells' work; links to members are kept apart from this.
//! Whether a node may start without those that its seeds name is decided by the engine's inquiry.

use std::net::SocketAddr;
use std::time::Duration;

use super::retry;
use crate::base::backoff::Backoff;
use crate::base::limits::MEMBERS_MAX;

/// How the addresses of a seed are gone through.
#[derive(Debug)]
pub(super) enum Pace {
    /// One after the other, each for as long as its link lasts; then a pause.
    InTurn(Backoff),
    /// All at once; the next round begins this long after all have answered.
    AllAtOnce(Duration),
}

impl Pace {
    /// That of a seed of `membership.seeds`.
    pub(super) const fn in_turn() -> Self {
        Self::InTurn(retry::backoff())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next round begins at this moment.
    Waiting(Duration),
    /// The name is being resolved.
    Resolving,
    /// The addresses are being dialled.
    Dialling,
}

/// An address in this round.
#[derive(Debug)]
struct Entry {
    addr: SocketAddr,
    /// Whether it had its turn.
    done: bool,
    /// Whether the round waits for the attempt at it.
    busy: bool,
}

/// See the module page.
#[derive(Debug)]
pub(super) struct Seed {
    name: String,
    pace: Pace,
    stage: Stage,
    round: Vec<Entry>,
    /// Whether a link of this round lasted, so that the next round follows at once.
    lasted: bool,
    /// Whether what the name resolved to was not said yet.
    news: bool,
}

impl Seed {
    /// A seed that is due at once.
    pub(super) const fn new(name: String, pace: Pace, now: Duration) -> Self {
        Self {
            name,
            pace,
            stage: Stage::Waiting(now),
            round: Vec::new(),
            lasted: false,
            news: false,
        }
    }

    /// Whether it is a name whose every address is a node.
    pub(super) const fn is_looked_up(&self) -> bool {
        matches!(self.pace, Pace::AllAtOnce(_))
    }

    /// When the next round begins, where that is known.
    pub(super) const fn due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Waiting(at) => Some(at),
            Stage::Resolving | Stage::Dialling => None,
        }
    }

    /// Begins a round, if it is due: returns the name to resolve.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<String> {
        let due = self.due().is_some_and(|at| at <= now);
        due.then(|| {
            self.stage = Stage::Resolving;
            self.name.clone()
        })
    }

    /// The name resolved to `addrs`.
    pub(super) fn on_resolved(&mut self, mut addrs: Vec<SocketAddr>) {
        if self.stage != Stage::Resolving {
            return;
        }
        if self.is_looked_up() {
            addrs.sort_unstable();
        }
        self.stage = Stage::Dialling;
        self.news = true;
        self.lasted = false;
        self.round.clear();
        for addr in addrs {
            if self.round.len() < MEMBERS_MAX && self.entry(addr).is_none() {
                self.round.push(Entry {
                    addr,
                    done: false,
                    busy: false,
                });
            }
        }
    }

    /// The address to dial next, if there is one.
    pub(super) fn next(&self) -> Option<SocketAddr> {
        let waits = !self.is_looked_up() && self.round.iter().any(|entry| entry.busy);
        if self.stage != Stage::Dialling || waits {
            return None;
        }
        let mut open = self.round.iter().filter(|entry| !entry.done && !entry.busy);
        open.next().map(|entry| entry.addr)
    }

    /// It is the turn of `addr`, which is `dialled`, or linked or being dialled already.
    pub(super) fn begin(&mut self, addr: SocketAddr, dialled: bool) {
        if let Some(entry) = self.entry(addr) {
            (entry.done, entry.busy) = (!dialled, dialled);
        }
    }

    /// The attempt at `addr` made a link.
    pub(super) fn on_up(&mut self, addr: SocketAddr) {
        let looked_up = self.is_looked_up();
        if let Some(entry) = self.entry(addr) {
            (entry.done, entry.busy) = (true, !looked_up);
        }
    }

    /// The attempt at `addr` is over, after a link that `lasted` or not.
    pub(super) fn on_end(&mut self, addr: SocketAddr, lasted: bool) {
        self.lasted |= lasted;
        if let Some(entry) = self.entry(addr).filter(|entry| entry.busy) {
            (entry.done, entry.busy) = (true, false);
        }
    }

    /// Its name and addresses, if it was resolved and that was not said before.
    pub(super) fn take_news(&mut self) -> Option<(String, Vec<SocketAddr>)> {
        let addrs = || self.round.iter().map(|entry| entry.addr).collect();
        std::mem::take(&mut self.news).then(|| (self.name.clone(), addrs()))
    }

    /// Begins the pause before the next round, if every address of this one has had its turn.
    pub(super) fn end_round(&mut self, now: Duration, jitter: f64) {
        let over = |entry: &Entry| entry.done && !entry.busy;
        if self.stage != Stage::Dialling || !self.round.iter().all(over) {
            return;
        }
        self.stage = Stage::Waiting(match &mut self.pace {
            Pace::InTurn(backoff) if self.lasted => {
                backoff.reset();
                now
            }
            Pace::InTurn(backoff) => now + backoff.step(jitter),
            Pace::AllAtOnce(interval) => now + interval.mul_f64(0.9 + 0.1 * jitter.clamp(0.0, 1.0)),
        });
    }

    fn entry(&mut self, addr: SocketAddr) -> Option<&mut Entry> {
        self.round.iter_mut().find(|entry| entry.addr == addr)
    }
}
