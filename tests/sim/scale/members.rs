//! Membership alone, in domains of very many: what each says when nothing happens, and how soon all know of a silent
//! one.

use std::time::Duration;

use limpet_core::membership::{Event, Identity, Swim, Todo};

use super::{BEGIN_MS, Rate, SWIM, Sent, Timers, VICTIM, addr_of, index_of, threads};
use crate::host::name_of;

/// How many members are many.
const MEMBERS: usize = 1000;

/// Membership alone.
struct Member {
    swim: Swim,
    timers: Timers,
    inbox: Vec<Vec<u8>>,
    outbox: Vec<(usize, Vec<u8>)>,
    /// How many others it takes for alive.
    knows: usize,
    silent: bool,
}

impl Member {
    fn new(index: usize) -> Self {
        let identity = Identity {
            node: name_of(index).as_str().into(),
            addr: addr_of(index),
            incarnation: BEGIN_MS,
        };
        Self {
            swim: Swim::new(identity, SWIM, index as u64),
            timers: Timers::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            knows: 0,
            silent: false,
        }
    }

    fn carry_out(&mut self, todo: Todo, now: Duration) {
        for (to, bytes) in todo.datagrams {
            self.outbox.push((index_of(to.addr), bytes));
        }
        for (after, timer) in todo.timers {
            self.timers.start(now + after, timer);
        }
        for event in todo.events {
            match event {
                Event::Up(_) => self.knows += 1,
                Event::Down(_) => self.knows -= 1,
                Event::Replaced { .. } | Event::Rejoined(_) => panic!("nobody restarts: {event:?}"),
            }
        }
    }

    fn step(&mut self, now: Duration) {
        for bytes in std::mem::take(&mut self.inbox) {
            let todo = self.swim.on_message(&bytes);
            self.carry_out(todo, now);
        }
        while let Some(timer) = self.timers.take_due(now) {
            let todo = self.swim.fire(timer);
            self.carry_out(todo, now);
        }
    }
}

/// Members and the network between them.
struct Members {
    all: Vec<Member>,
    now: Duration,
    sent: Sent,
}

impl Members {
    const STEP: Duration = Duration::from_millis(5);

    /// As many members, each of which has told the first that it is there.
    fn of(nodes: usize) -> Self {
        let mut members = Self {
            all: (0..nodes).map(Member::new).collect(),
            now: Duration::ZERO,
            sent: Sent::default(),
        };
        let seed = members.all[0].swim.identity().clone();
        for member in members.all.iter_mut().skip(1) {
            let todo = member.swim.meet(seed.clone());
            member.carry_out(todo, Duration::ZERO);
        }
        members
    }

    fn step(&mut self) {
        self.now += Self::STEP;
        let now = self.now;
        let share = self.all.len().div_ceil(threads());
        std::thread::scope(|scope| {
            for members in self.all.chunks_mut(share) {
                scope.spawn(move || {
                    for member in members.iter_mut().filter(|member| !member.silent) {
                        member.step(now);
                    }
                });
            }
        });
        for from in 0..self.all.len() {
            for (to, bytes) in std::mem::take(&mut self.all[from].outbox) {
                self.sent.count(bytes.len());
                if !self.all[to].silent {
                    self.all[to].inbox.push(bytes);
                }
            }
        }
    }

    /// Goes on until every member takes `others` for alive; says how long that was.
    fn until_all_know(&mut self, others: usize, limit: Duration) -> Duration {
        let begin = self.now;
        let knows = |member: &Member| member.silent || member.knows == others;
        while !self.all.iter().all(knows) {
            let took = self.now - begin;
            assert!(took < limit, "after {took:?} not everybody knows {others} others");
            self.step();
        }
        self.now - begin
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }
}

/// Members that come to know each other, are quiet and lose one of them.
fn membership_of(nodes: usize) -> Rate {
    let mut members = Members::of(nodes);
    let met = members.until_all_know(nodes - 1, Duration::from_secs(30));
    members.run(Duration::from_secs(5)); // until the news are no news any more
    let (before, window) = (members.sent, Duration::from_secs(5));
    members.run(window);
    let rate = members.sent.rate(before, nodes, window);
    members.all[VICTIM].silent = true;
    let lost = members.until_all_know(nodes - 2, Duration::from_secs(10));
    println!(
        "{nodes} members: all know all after {met:?}; quiet, each says {:.1} messages and {:.0} bytes per second; \
         all know of a silent one after {lost:?}",
        rate.messages, rate.bytes
    );
    rate
}

#[test]
fn a_domain_of_many_members_talks_no_more_each_than_one_of_a_hundred() {
    let (hundred, many) = (membership_of(100), membership_of(MEMBERS));
    assert!(
        many.messages <= 1.5 * hundred.messages,
        "{many:?} is more than {hundred:?}"
    );
}
