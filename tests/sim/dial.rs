//! Connections being made, in virtual time: what the daemon's dialler and handshake do with sockets. Whom to dial and when
//! is decided by each node's link keeper, and who is admitted by the core's admission, as in the daemon. What goes over
//! a link once it is up is [`crate::links`]'s.

use std::collections::VecDeque;
use std::time::Duration;

use limpet_core::drivers::links::LinkError;
use limpet_core::drivers::links::admission::{self, Judgement, hello_of};
use limpet_core::drivers::links::keeper::{Dial, KeeperOutput, Outcome, SeedId};
use limpet_core::engine::InboundLink;
use limpet_core::net::hello::{Hello, Verdict};
use limpet_core::replication::position::StreamId;

use crate::host::{LookUps, addr_of, index_of, name_of, resolve};
use crate::network::{Conn, Pass};
use crate::report::Rare;
use crate::world::{Event, World};

const CONNECT_TIMEOUT_US: u64 = 2_000_000;
const HANDSHAKE_TIMEOUT_US: u64 = 5_000_000;
/// How long a process whose id another one claims may take to answer.
const ANSWER_TIMEOUT_US: u64 = 1_000_000;
/// Every node's.
const DOMAIN: &str = "";

/// An attempt that a node's keeper decided on.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub from: usize,
    pub epoch: u32,
    pub to: usize,
    pub dial: Dial,
}

/// A hello on its way, or being judged by the node it came to.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub attempt: Attempt,
    pub hello: Hello,
    /// Of an answer: which process gave it, and as what it listens to the link.
    pub answer: Option<(u32, InboundLink)>,
}

impl Greeting {
    /// Who judges the hello, and whose it is.
    fn sides(&self) -> (usize, usize) {
        match self.answer {
            None => (self.attempt.to, self.attempt.from),
            Some(_) => (self.attempt.from, self.attempt.to),
        }
    }
}

impl World {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// The engine of `index` wants a link to `to`.
    pub fn want_link(&mut self, index: usize, to: usize) {
        let now = self.elapsed();
        if let Some(keeper) = &mut self.hosts[index].keeper {
            keeper.on_wanted(addr_of(to), now);
            self.wake_keeper(index, self.now);
        }
    }

    /// The node at `to` has dialled that of `index`, which makes a link back.
    pub fn want_link_back(&mut self, index: usize, to: usize) {
        let now = self.elapsed();
        if let Some(keeper) = &mut self.hosts[index].keeper {
            keeper.on_dialled(addr_of(to), now);
            self.wake_keeper(index, self.now);
        }
    }

    /// The keeper of `index` is to act at `at`.
    pub fn wake_keeper(&mut self, index: usize, at: u64) {
        let host = &mut self.hosts[index];
        if host.keeper_due.is_none_or(|due| at < due) {
            host.keeper_due = Some(at);
            let epoch = host.epoch;
            self.after(at - self.now, Event::Keep(index, epoch));
        }
    }

    /// The keeper of `index` begins what is due.
    pub fn keep(&mut self, index: usize) {
        let (at, now) = (self.now, self.elapsed());
        let host = &mut self.hosts[index];
        if host.keeper_due.is_none_or(|due| due > at) {
            return; // it was woken before, and waits for something later
        }
        host.keeper_due = None;
        let clocks = host.now(at);
        let (Some(engine), Some(keeper)) = (&host.engine, &mut host.keeper) else {
            return;
        };
        let outputs = keeper.tick(&(engine, clocks), now, self.draw.fraction());
        // Rounded up, for at an earlier microsecond nothing would be due.
        let wake = keeper.next_wake().as_nanos().div_ceil(1000) as u64;
        self.wake_keeper(index, wake.max(at));
        self.carry_out_links(index, outputs);
    }

    fn carry_out_links(&mut self, index: usize, outputs: Vec<KeeperOutput>) {
        for output in outputs {
            match output {
                KeeperOutput::Dial(dial) => self.dial(index, dial),
                KeeperOutput::Resolve { seed, name } => {
                    let slow = match self.hosts[index].look_ups {
                        LookUps::Slow(slow) => slow,
                        LookUps::Work | LookUps::Fail => 0,
                    };
                    let epoch = self.hosts[index].epoch;
                    self.after(slow, Event::LookedUp(index, epoch, seed, name));
                }
                KeeperOutput::Close(attempt) => {
                    if let Some(Some(id)) = self.hosts[index].attempts.remove(&attempt) {
                        self.drop_conn(id);
                    }
                }
                KeeperOutput::LinkDown(peer, stream) => {
                    self.call(index, |engine, now| engine.link_down(&peer, stream, false, now));
                }
                KeeperOutput::Unreachable { addr, refused } => {
                    self.call(index, |engine, now| engine.unreachable(addr, refused, now));
                }
                KeeperOutput::Resolved(name, addrs) => {
                    self.call(index, |engine, now| engine.seed_resolved(&name, &addrs, now));
                }
            }
        }
    }

    /// A name was looked up.
    pub fn looked_up(&mut self, index: usize, seed: SeedId, name: &str) {
        let addrs = match self.hosts[index].look_ups {
            LookUps::Fail => Vec::new(),
            LookUps::Work | LookUps::Slow(_) => resolve(name, self.plan.nodes),
        };
        if let Some(keeper) = &mut self.hosts[index].keeper {
            keeper.on_resolved(seed, addrs);
            self.wake_keeper(index, self.now);
        }
    }

    fn dial(&mut self, from: usize, dial: Dial) {
        let to = index_of(dial.addr);
        let host = &mut self.hosts[from];
        let Some(engine) = &host.engine else { return };
        let hello = hello_of(engine.identity(), DOMAIN, 0, dial.stream, Verdict::Welcome);
        host.attempts.insert(dial.attempt, None);
        let epoch = host.epoch;
        self.trace.count(self.now, "dial", from, to, dial.attempt);
        let attempt = Attempt {
            from,
            epoch,
            to,
            dial,
        };
        let delay = self.net.delay(from, to);
        let (after, outcome) = match self.net.dial_way(from, to) {
            Pass::Drop => (CONNECT_TIMEOUT_US, Outcome::Failed),
            Pass::Reject => (delay, Outcome::Refused),
            Pass::Open if self.hosts[to].engine.is_none() => (delay, Outcome::Refused),
            Pass::Open => {
                // TCP, TLS and the hello: three ways there, two back.
                let there = 3 * delay + 2 * self.net.delay(to, from);
                let greeting = Greeting {
                    attempt: attempt.clone(),
                    hello,
                    answer: None,
                };
                self.after(there, Event::Greet(Box::new(greeting)));
                (HANDSHAKE_TIMEOUT_US, Outcome::Failed)
            }
        };
        self.after(after, Event::DialEnded(Box::new(attempt), outcome));
    }

    /// A hello arrives at the node that was dialled.
    pub fn greet(&mut self, greeting: Box<Greeting>) {
        let Attempt { from, to, .. } = greeting.attempt;
        if self.net.dial_way(from, to) != Pass::Open {
            return; // the dialler's patience ends
        }
        if self.hosts[to].engine.is_none() {
            // Gone in the middle of a handshake.
            let ended = Event::DialEnded(Box::new(greeting.attempt), Outcome::Failed);
            self.after(0, ended);
        } else if self.hosts[to].paused {
            self.hosts[to].deferred.push_back(Event::Greet(greeting));
        } else {
            self.judge(greeting);
        }
    }

    /// The answer to a hello arrives at the node that dialled.
    pub fn answered(&mut self, greeting: Box<Greeting>) {
        let Attempt { from, to, .. } = greeting.attempt;
        if !self.is_pending(&greeting.attempt) {
            return;
        }
        let heeded = self.call(from, |engine, now| {
            admission::heed(engine, &greeting.attempt.dial, &greeting.hello, &name_of(to), now)
        });
        match heeded {
            Some(Err(error)) => self.dial_ended(&greeting.attempt, error.outcome()),
            _ => self.judge(greeting),
        }
    }

    fn judge(&mut self, greeting: Box<Greeting>) {
        let (judge, other) = greeting.sides();
        let (peer, hello) = (name_of(other), &greeting.hello);
        let judgement = self.call(judge, |engine, _| admission::judge(engine, DOMAIN, hello, &peer));
        match judgement {
            None => {}
            Some(Judgement::Given(verdict)) => self.judged(greeting, verdict),
            Some(Judgement::Probe(holder)) => {
                let (at, epoch) = (index_of(holder), self.hosts[judge].epoch);
                let path = self.net.dial_way(judge, at);
                let is_there = addr_of(at) == holder && self.hosts[at].engine.is_some();
                let alive = path == Pass::Open && is_there && !self.hosts[at].paused;
                let after = match path {
                    Pass::Drop => ANSWER_TIMEOUT_US,
                    Pass::Open if is_there && !alive => ANSWER_TIMEOUT_US,
                    Pass::Open if alive => 3 * (self.net.delay(judge, at) + self.net.delay(at, judge)),
                    Pass::Open | Pass::Reject => self.net.delay(judge, at),
                };
                let probed = Event::Probed {
                    judge,
                    epoch,
                    holder,
                    alive,
                    greeting,
                };
                self.after(after, probed);
            }
        }
    }

    /// It is known whether the other process of a peer's id is alive.
    pub fn probed(&mut self, holder: std::net::SocketAddr, alive: bool, greeting: Box<Greeting>) {
        let (judge, other) = greeting.sides();
        let verdict = self.call(judge, |engine, now| {
            admission::on_probed(engine, &name_of(other), holder, alive, now)
        });
        if let Some(verdict) = verdict {
            self.judged(greeting, verdict);
        }
    }

    fn judged(&mut self, greeting: Box<Greeting>, verdict: Verdict) {
        match greeting.answer {
            None => self.answer(*greeting, verdict),
            Some((epoch, on)) => self.conclude(&greeting, epoch, on, verdict),
        }
    }

    /// The node that was dialled answers.
    fn answer(&mut self, greeting: Greeting, verdict: Verdict) {
        let Greeting { attempt, hello, .. } = greeting;
        let Attempt { from, to, .. } = attempt;
        let dialler = name_of(from);
        let answer = self.call(to, |engine, now| {
            let stream = StreamId::new(hello.stream);
            let knows = engine.latest_incarnation(&dialler);
            let answer = hello_of(engine.identity(), DOMAIN, knows, stream, verdict);
            let admitted = admission::enforce(engine, &hello, &dialler, verdict, now).is_ok();
            let on = admitted.then(|| engine.on_hello(&dialler, stream, hello.addr));
            (answer, on.unwrap_or_default())
        });
        let Some((hello, on)) = answer else { return };
        let answer = Some((self.hosts[to].epoch, on));
        let greeting = Greeting {
            attempt,
            hello,
            answer,
        };
        let delay = self.net.delay(to, from);
        self.after(delay, Event::Answered(Box::new(greeting)));
    }

    fn is_pending(&self, attempt: &Attempt) -> bool {
        self.hosts[attempt.from].attempts.get(&attempt.dial.attempt) == Some(&None)
    }

    /// The handshake is done: there is a link, unless the node that dialled has something against it.
    fn conclude(&mut self, greeting: &Greeting, epoch: u32, on: InboundLink, verdict: Verdict) {
        let Greeting { attempt, hello, .. } = greeting;
        let Attempt { from, to, dial, .. } = attempt;
        let (from, to, stream) = (*from, *to, dial.stream);
        if !self.is_pending(attempt) {
            return;
        }
        let peer = name_of(to);
        let made = self.engine(from, |engine, now| {
            admission::enforce(engine, hello, &peer, verdict, now)?;
            admission::link_up(engine, dial, hello, &peer, now)
        });
        let Some((made, outputs)) = made else { return };
        if let Err(error) = made {
            self.carry_out_all(from, outputs);
            if matches!(error, LinkError::Outpaced) {
                self.reached.note(Rare::Outpaced);
            }
            return self.dial_ended(attempt, error.outcome());
        }
        let conn = Conn {
            from,
            to,
            from_epoch: self.hosts[from].epoch,
            to_epoch: epoch,
            attempt: dial.attempt,
            stream,
            on,
            flights: VecDeque::new(),
            bytes: 0,
            last_at: self.now,
            born: self.now,
            up: true,
            read: true,
            deliver_due: None,
            write_due: false,
            held: None,
        };
        let id = self.net.open(conn);
        self.trace.count(self.now, "link up", from, to, id);
        self.tell(
            from,
            format_args!("link {id} to n{to}, stream {}, is up", dial.stream),
        );
        self.numbers.links += 1;
        let now = self.elapsed();
        let host = &mut self.hosts[from];
        host.links.insert((to, stream), id);
        host.attempts.insert(dial.attempt, Some(id));
        if let Some(keeper) = &mut host.keeper {
            keeper.on_up(dial.attempt, peer, now);
        }
        self.wake_keeper(from, self.now);
        self.carry_out_all(from, outputs);
        if self.hosts[to].epoch != epoch || self.hosts[to].engine.is_none() {
            let delay = self.net.delay(to, from);
            self.after(delay, Event::Broken(id)); // the process that answered is gone
        }
        self.wake_conn(id);
    }

    /// An attempt came to nothing, if it still is one.
    pub fn dial_ended(&mut self, attempt: &Attempt, outcome: Outcome) {
        if self.is_pending(attempt) {
            let Attempt { from, to, .. } = *attempt;
            let refused = u64::from(outcome == Outcome::Refused);
            self.trace.count(self.now, "no link", from, to, refused);
            let stream = attempt.dial.stream;
            self.tell(
                from,
                format_args!("no link to n{to}, stream {stream}: {outcome:?}"),
            );
            self.attempt_ended(from, attempt.dial.attempt, outcome);
        }
    }

    /// An attempt of `index`, or its link, ended: the keeper decides what follows.
    pub fn attempt_ended(&mut self, index: usize, attempt: u64, outcome: Outcome) {
        let now = self.elapsed();
        let host = &mut self.hosts[index];
        host.attempts.remove(&attempt);
        if let Some(keeper) = &mut host.keeper {
            let outputs = keeper.on_end(attempt, outcome, now);
            self.carry_out_links(index, outputs);
            self.wake_keeper(index, self.now);
        }
    }
}
