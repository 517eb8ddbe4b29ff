//! What the daemon's link tasks do until there is a link, in virtual time: dial members and seeds, shake hands, try
//! again. What goes over links is [`crate::links`]'s.

use std::collections::VecDeque;

use limpet_core::engine::{InboundLink, Peer};
use limpet_core::membership::Identity;
use limpet_core::replication::position::StreamId;
use limpet_core::replication::streams::CONTROL;

use crate::host::{For, Keeper, addr_of, index_of, name_of};
use crate::network::{Conn, Pass};
use crate::world::{Attempt, Event, World};

const CONNECT_TIMEOUT_US: u64 = 2_000_000;
const HANDSHAKE_TIMEOUT_US: u64 = 5_000_000;

impl World {
    /// The engine wants a link to `to`.
    pub fn keep(&mut self, from: usize, to: usize) {
        let host = &mut self.hosts[from];
        if from == to || host.keepers.contains_key(&(to, For::Member)) {
            return;
        }
        host.keepers.insert((to, For::Member), Keeper::default());
        self.step(from, to, For::Member, 0);
    }

    /// Which links are missing?
    pub fn look(&mut self, index: usize) {
        let wanted = self
            .call(index, |engine, now| engine.wanted_links(now))
            .unwrap_or_default();
        for addr in wanted {
            self.keep(index, index_of(addr));
        }
    }

    pub fn step(&mut self, from: usize, to: usize, reason: For, after: u64) {
        let epoch = self.hosts[from].epoch;
        self.after(
            after,
            Event::Dial {
                from,
                epoch,
                to,
                reason,
            },
        );
    }

    pub fn back_off(&mut self, from: usize, to: usize, reason: For) {
        let random = self.draw.fraction();
        if let Some(keeper) = self.hosts[from].keepers.get_mut(&(to, reason)) {
            keeper.busy = false;
            let delay = keeper.backoff.step(random);
            self.step(from, to, reason, delay.as_micros() as u64);
        }
    }

    fn seed_tried(&mut self, from: usize, to: usize) {
        if self.hosts[from].tried.insert(to) {
            self.call(from, |engine, now| {
                engine.seed_tried(&addr_of(to).to_string(), now)
            });
        }
    }

    /// A keeper's next step.
    pub fn dial(&mut self, from: usize, to: usize, reason: For) {
        let host = &mut self.hosts[from];
        let Some(engine) = &host.engine else { return };
        let stream = reason.stream();
        let linked = engine
            .roster()
            .iter()
            .any(|(_, member)| member.linked && member.identity.addr == addr_of(to));
        let leaving = engine.is_leaving();
        let taken = host.dialling.contains_key(&(to, stream));
        match reason {
            For::Member if linked || leaving || taken => {
                host.keepers.remove(&(to, reason));
                return;
            }
            For::Seed if linked || taken => {
                self.seed_tried(from, to);
                self.back_off(from, to, reason);
                return;
            }
            For::StreamId(_) if taken || !host.keepers.contains_key(&(to, reason)) => return,
            _ => {}
        }
        self.attempts += 1;
        let attempt = Attempt {
            id: self.attempts,
            from,
            epoch: host.epoch,
            to,
            reason,
        };
        host.dialling.insert((to, stream), attempt.id);
        self.trace.count(self.now, "dial", from, to, attempt.id);
        let delay = self.net.delay(from, to);
        let (after, refused) = match self.net.dial_way(from, to) {
            Pass::Drop => (CONNECT_TIMEOUT_US, false),
            Pass::Reject => (delay, true),
            Pass::Open if self.hosts[to].engine.is_none() => (delay, true),
            Pass::Open => {
                // TCP, TLS and the hello: three ways there, two back.
                let there = 3 * delay + 2 * self.net.delay(to, from);
                self.after(there, Event::Greet(attempt));
                (HANDSHAKE_TIMEOUT_US, false)
            }
        };
        self.after(after, Event::DialFailed { attempt, refused });
    }

    /// A hello arrives at the node that was dialled.
    pub fn greet(&mut self, attempt: Attempt) {
        let Attempt { from, to, reason, .. } = attempt;
        let refused = false;
        if self.net.dial_way(from, to) != Pass::Open {
            return; // the dialler's patience ends
        }
        if self.hosts[to].engine.is_none() {
            self.after(0, Event::DialFailed { attempt, refused }); // gone in the middle of a handshake
            return;
        }
        if self.hosts[to].paused {
            self.hosts[to].deferred.push_back(Event::Greet(attempt));
            return;
        }
        let delay = self.net.delay(to, from);
        let (dialler, addr) = (name_of(from), addr_of(from));
        let elsewhere = self
            .call(to, |engine, _| engine.linked_elsewhere(&dialler, addr))
            .flatten();
        if elsewhere.is_some() {
            self.after(delay, Event::DialFailed { attempt, refused });
            return;
        }
        let answer = self.call(to, |engine, _| {
            let knows = engine.latest_incarnation(&dialler);
            let identity = engine.identity().clone();
            (knows, identity, engine.on_hello(&dialler, reason.stream(), addr))
        });
        let Some((knows, identity, on)) = answer else {
            return;
        };
        let epoch = self.hosts[to].epoch;
        self.after(
            delay,
            Event::Shaken {
                attempt,
                epoch,
                identity: Box::new(identity),
                knows,
                on,
            },
        );
    }

    fn is_pending(&self, attempt: Attempt) -> bool {
        let position = (attempt.to, attempt.reason.stream());
        self.hosts[attempt.from].dialling.get(&position) == Some(&attempt.id)
    }

    /// The handshake is done: there is a link.
    pub fn shaken(&mut self, attempt: Attempt, epoch: u32, identity: Identity, knows: u64, on: InboundLink) {
        let Attempt { from, to, reason, .. } = attempt;
        let stream = reason.stream();
        if !self.is_pending(attempt) {
            return;
        }
        if self.call(from, |engine, now| engine.outpace(knows, now)) == Some(true) {
            self.reached.note(crate::report::Rare::Outpaced);
            self.dial_failed(attempt, false);
            return;
        }
        let peer = name_of(to);
        let linked = self
            .call(from, |engine, _| {
                engine.peers().get(&peer).is_some_and(Peer::is_linked)
            })
            .unwrap_or(false);
        if stream == CONTROL && linked {
            self.hosts[from].dialling.remove(&(to, stream));
            if reason == For::Seed {
                self.back_off(from, to, reason);
            } else {
                self.hosts[from].keepers.remove(&(to, reason));
            }
            return;
        }
        let conn = Conn {
            from,
            to,
            from_epoch: self.hosts[from].epoch,
            to_epoch: epoch,
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
        self.hosts[from].links.insert((to, stream), id);
        self.numbers.links += 1;
        self.hosts[from].keepers.entry((to, reason)).or_default().busy = true;
        self.call(from, |engine, now| engine.link_up(&peer, identity, stream, now));
        if reason == For::Seed {
            self.seed_tried(from, to);
        }
        if stream == CONTROL {
            for other in StreamId::first(self.plan.options.links).skip(1) {
                self.hosts[from]
                    .keepers
                    .insert((to, For::StreamId(other)), Keeper::default());
                self.step(from, to, For::StreamId(other), 0);
            }
        }
        if self.hosts[to].epoch != epoch || self.hosts[to].engine.is_none() {
            let delay = self.net.delay(to, from);
            self.after(delay, Event::Broken(id)); // the process that answered is gone
        }
        self.wake_conn(id);
    }

    /// An attempt came to nothing.
    pub fn dial_failed(&mut self, attempt: Attempt, refused: bool) {
        let Attempt { from, to, reason, .. } = attempt;
        let position = (to, reason.stream());
        if !self.is_pending(attempt) || self.hosts[from].links.contains_key(&position) {
            return;
        }
        self.hosts[from].dialling.remove(&position);
        self.trace
            .count(self.now, "no link", from, to, u64::from(refused));
        if let For::StreamId(_) = reason {
            return self.back_off(from, to, reason);
        }
        let wanted = self
            .call(from, |engine, now| {
                engine.unreachable(addr_of(to), refused, now);
                engine.wanted_links(now).contains(&addr_of(to))
            })
            .unwrap_or(false);
        if reason == For::Seed && refused {
            self.seed_tried(from, to);
        }
        if wanted || reason == For::Seed {
            self.back_off(from, to, reason);
        } else {
            self.hosts[from].keepers.remove(&(to, reason));
        }
    }
}
