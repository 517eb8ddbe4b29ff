//! A seed: a name by which other nodes are found. It is resolved again and again, in rounds, and each of its addresses is
//! dialled where nothing is linked: a seed is how a partition that outlasted everybody's memory heals. [`is_tried`] says
//! when a seed counts as tried, which a node waits for before it begins without the others.
//!
//! Resolving names and dialling addresses are the keeper's and its shells' work; links to members are kept apart from this.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Outcome, retry};
use crate::base::backoff::Backoff;
use crate::base::limits::MEMBERS_MAX;

/// What the last attempt at an address of a seed found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It made a link.
    Linked,
    /// None was needed: the address is this node's own, or is linked or being dialled already.
    Known,
    /// Nobody listens there.
    Refused,
    /// A node of another domain, which has other sessions.
    OtherDomain,
    /// Nothing that tells whether somebody with this domain's sessions is there.
    Unclear,
}

impl Answer {
    /// What an attempt found that made no link.
    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::AlreadyLinked => Self::Known,
            Outcome::Refused => Self::Refused,
            Outcome::OtherDomain => Self::OtherDomain,
            Outcome::Closed { .. } | Outcome::Failed => Self::Unclear,
        }
    }
}

/// The rule by which a seed counts as tried. `answers` are those of the addresses that its name resolved to in this
/// round, `None` for one that has given none yet. A name without addresses was not tried.
fn is_tried(pace: &Pace, answers: &[Option<Answer>]) -> bool {
    let one_linked = answers.contains(&Some(Answer::Linked));
    let all_clear = !answers.is_empty()
        && answers
            .iter()
            .all(|answer| answer.is_some_and(|answer| answer != Answer::Unclear));
    match pace {
        Pace::InTurn(_) => one_linked || all_clear,
        Pace::AllAtOnce(_) => all_clear,
    }
}

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
    answer: Option<Answer>,
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
    /// Whether it was ever tried.
    tried: bool,
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
            tried: false,
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
        self.lasted = false;
        self.round.clear();
        for addr in addrs {
            if self.round.len() < MEMBERS_MAX && self.entry(addr).is_none() {
                self.round.push(Entry {
                    addr,
                    answer: None,
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
        let mut open = self
            .round
            .iter()
            .filter(|entry| entry.answer.is_none() && !entry.busy);
        open.next().map(|entry| entry.addr)
    }

    /// `addr` is being dialled, or has an `answer` without that.
    pub(super) fn begin(&mut self, addr: SocketAddr, answer: Option<Answer>) {
        if let Some(entry) = self.entry(addr) {
            entry.busy = answer.is_none();
            entry.answer = answer;
        }
    }

    /// The attempt at `addr` made a link.
    pub(super) fn on_up(&mut self, addr: SocketAddr) {
        let looked_up = self.is_looked_up();
        if let Some(entry) = self.entry(addr) {
            entry.answer = Some(Answer::Linked);
            entry.busy = !looked_up;
        }
    }

    /// The attempt at `addr` is over, with an `answer` if it made no link, else after a link that `lasted` or not.
    pub(super) fn on_end(&mut self, addr: SocketAddr, answer: Option<Answer>, lasted: bool) {
        self.lasted |= lasted;
        if let Some(entry) = self.entry(addr).filter(|entry| entry.busy) {
            entry.busy = false;
            entry.answer = answer.or(entry.answer);
        }
    }

    /// Its name, if it was tried and that was not said before.
    pub(super) fn take_tried(&mut self) -> Option<String> {
        let answers: Vec<_> = self.round.iter().map(|entry| entry.answer).collect();
        let tried = !self.tried && self.stage == Stage::Dialling && is_tried(&self.pace, &answers);
        self.tried |= tried;
        tried.then(|| self.name.clone())
    }

    /// Begins the pause before the next round, if every address of this one has had its turn.
    pub(super) fn end_round(&mut self, now: Duration, jitter: f64) {
        let over = |entry: &Entry| entry.answer.is_some() && !entry.busy;
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

#[cfg(test)]
mod tests {
    use super::Answer::{Known, Linked, OtherDomain, Refused, Unclear};
    use super::*;

    #[test]
    fn a_seed_is_tried_once_one_address_is_linked_or_all_have_certainly_no_sessions_to_give() {
        let in_turn = Pace::in_turn();
        let at_once = Pace::AllAtOnce(Duration::from_secs(10));
        let cases: [(&[Option<Answer>], bool, bool); 9] = [
            (&[], false, false),
            (&[None], false, false),
            (&[Some(Linked)], true, true),
            (&[Some(Linked), None], true, false),
            (&[Some(Linked), Some(Unclear)], true, false),
            (&[Some(Refused), Some(OtherDomain), Some(Known)], true, true),
            (&[Some(Refused), Some(Unclear)], false, false),
            (&[Some(Known), None], false, false),
            (&[Some(Known), Some(Unclear)], false, false),
        ];
        for (answers, one_by_one, together) in cases {
            assert_eq!(is_tried(&in_turn, answers), one_by_one, "{answers:?}, in turn");
            assert_eq!(is_tried(&at_once, answers), together, "{answers:?}, all at once");
        }
    }
}
