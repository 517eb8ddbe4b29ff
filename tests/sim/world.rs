//! The world of one run: virtual time, what is due when, and everything that the other modules look at. What an event does
//! is theirs: [`crate::dial`], [`crate::links`], [`crate::client`], [`crate::faults`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use limpet_core::base::clock::Now;
use limpet_core::drivers::links::keeper::{Outcome, SeedId};
use limpet_core::drivers::node::TICK;
use limpet_core::engine::{Engine, Output};
use limpet_core::membership::Timer;
use limpet_core::session::Stamp;
use limpet_core::store::Memory;

use crate::check;
use crate::client::Client;
use crate::dial::{Attempt, Greeting};
use crate::draw::Draw;
use crate::due::Due;
use crate::faults::{Act, Faults};
use crate::history::{History, Incarnation};
use crate::host::{self, Host};
use crate::network::{ConnId, Network, Pass};
use crate::plan::{Order, Plan, Seeds};
use crate::propose::Proposal;
use crate::report::{Numbers, Rare, Reached};
use crate::trace::Trace;
use crate::view::Rank;

/// What is due.
#[derive(Debug)]
pub enum Event {
    /// Time passes at a node.
    Tick(usize, u32),
    /// A timer of membership.
    Timer(usize, u32, Box<Timer>),
    /// A node's link keeper acts.
    Keep(usize, u32),
    /// A node has looked a name up.
    LookedUp(usize, u32, SeedId, String),
    /// A dialler's hello arrives.
    Greet(Box<Greeting>),
    /// The answer to it arrives.
    Answered(Box<Greeting>),
    /// Somebody who judges a hello knows whether the process at `holder` is alive.
    Probed {
        judge: usize,
        epoch: u32,
        holder: std::net::SocketAddr,
        alive: bool,
        greeting: Box<Greeting>,
    },
    /// An attempt came to nothing.
    DialEnded(Box<Attempt>, Outcome),
    /// A connection's writer runs.
    Write(ConnId),
    /// The head of a connection arrives.
    Deliver(ConnId),
    /// The dialler finds out that its connection is gone.
    Broken(ConnId),
    /// A pair may have been silent for long enough.
    FailureDetector(usize, usize, u64),
    /// A client's next request.
    Request(usize),
    /// A client does not wait any longer.
    GiveUp(usize, u64),
    /// Something goes wrong.
    Fault,
    /// A fault goes on, or ends; of this generation of faults.
    Act(u32, Act),
}

/// See the module page.
pub struct World {
    pub plan: Plan,
    /// True time, in microseconds.
    pub now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    pub hosts: Vec<Host>,
    /// How far ahead any clock was while some node joined: stamps are no further ahead.
    pub latest_joining_ms: i64,
    pub net: Network,
    pub clients: Vec<Client>,
    /// Conditional changes under way, and the versions, with their lives, that a node has let somebody change.
    pub proposals: Vec<Proposal>,
    pub granted: HashSet<(Incarnation, usize, Rank)>,
    pub majority: crate::majority::Majority,
    /// Since when clients ask no more.
    pub closed: Option<u64>,
    /// Where clients may go; everywhere while anything may fail.
    pub core: Vec<usize>,
    pub faults: Faults,
    pub history: History,
    pub trace: Trace,
    pub reached: Reached,
    pub numbers: Numbers,
    /// Draws for drivers: backoff, phases.
    pub draw: Draw,
    /// Who waits for copies: the client, by node, process and waiter.
    pub waiters: HashMap<(usize, u32, u64), (usize, u64)>,
    /// Whether every message is printed.
    pub verbose: bool,
    /// The first claim that turned out wrong.
    pub failure: Option<String>,
}

impl World {
    /// The cluster `plan` says, nothing started yet.
    pub fn new(plan: Plan) -> Self {
        let seed = plan.seed;
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            hosts: (0..plan.nodes).map(Host::new).collect(),
            latest_joining_ms: 0,
            net: Network::new(plan.nodes, plan.weather, Draw::of(seed, "network")),
            clients: Vec::new(),
            proposals: Vec::new(),
            granted: HashSet::new(),
            majority: crate::majority::Majority::default(),
            closed: None,
            core: (0..plan.nodes).collect(),
            faults: Faults::new(&plan),
            history: History::default(),
            trace: Trace::default(),
            reached: Reached::default(),
            numbers: Numbers::default(),
            draw: Draw::of(seed, "drivers"),
            waiters: HashMap::new(),
            verbose: std::env::var_os("LIMPET_SIM_TELL").is_some(),
            failure: None,
            plan,
        };
        world.set_clocks();
        for index in 0..world.hosts.len() {
            let at = match world.plan.order {
                Order::FirstFirst if index == 0 => 0,
                Order::AtOnce => world.draw.below(50_000),
                Order::FirstFirst | Order::Any => world.draw.below(3_000_000),
            };
            world.after(at, Event::Act(0, Act::Start(index)));
        }
        crate::faults::begin_steps(&mut world);
        crate::client::arrive(&mut world);
        let first = world.faults.pause();
        world.after(4_000_000 + first, Event::Fault);
        world
    }

    fn set_clocks(&mut self) {
        let clocks = self.plan.clocks;
        for host in &mut self.hosts {
            host.clock.off_ms = self.draw.between(0, 2 * clocks.skew_ms) as i64 - clocks.skew_ms as i64;
            host.usual_ms = host.clock.off_ms;
        }
        if clocks.beyond {
            let which = self.draw.index(self.hosts.len());
            let far = self.draw.pick(&[70_000_i64, -70_000, 600_000, 40_000_000]);
            self.hosts[which].clock.off_ms = far;
            self.hosts[which].usual_ms = far;
        }
    }

    /// `event` is due `after` microseconds from now.
    pub fn after(&mut self, after: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Due {
            at: self.now + after,
            order: self.order,
            event,
        }));
    }

    /// A claim turned out wrong. The first is the one that counts.
    pub fn fail(&mut self, claim: &str, words: String) {
        if self.failure.is_none() {
            if self.verbose {
                println!("  {:>11.6} {claim}", self.now as f64 / 1e6);
            }
            self.failure = Some(format!("{claim}: {words}"));
        }
    }

    /// Prints what node `index` did, where every message is printed.
    pub fn tell(&self, index: usize, what: std::fmt::Arguments) {
        if self.verbose {
            println!("  {:>11.6} n{index}: {what}", self.now as f64 / 1e6);
        }
    }

    /// Everything up to `end`, unless something fails.
    pub fn run_until(&mut self, end: u64) {
        while self.failure.is_none() {
            match self.queue.peek() {
                Some(Reverse(due)) if due.at <= end => {}
                _ => break,
            }
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            self.now = due.at;
            self.happen(due.event);
        }
        if self.failure.is_none() {
            self.now = self.now.max(end);
        }
    }

    /// Which process an event belongs to: it happens only while that process runs, and waits while it is paused.
    fn owner(event: &Event) -> Option<(usize, u32)> {
        match event {
            Event::Tick(host, epoch)
            | Event::Timer(host, epoch, _)
            | Event::Keep(host, epoch)
            | Event::LookedUp(host, epoch, ..) => Some((*host, *epoch)),
            Event::Probed { judge, epoch, .. } => Some((*judge, *epoch)),
            Event::Answered(greeting) => Some((greeting.attempt.from, greeting.attempt.epoch)),
            Event::DialEnded(attempt, _) => Some((attempt.from, attempt.epoch)),
            _ => None,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some((index, epoch)) = Self::owner(&event) {
            let host = &mut self.hosts[index];
            if host.engine.is_none() || host.epoch != epoch {
                return;
            }
            if host.paused {
                host.deferred.push_back(event);
                return;
            }
        }
        match event {
            Event::Tick(index, epoch) => {
                self.call(index, |engine, now| engine.tick(now));
                check::bounds(self, index);
                check::readiness(self, index);
                self.after(TICK.as_micros() as u64, Event::Tick(index, epoch));
            }
            Event::Timer(index, _, timer) => {
                self.call(index, |engine, now| engine.fire(*timer, now));
            }
            Event::Keep(index, _) => self.keep(index),
            Event::LookedUp(index, _, seed, name) => self.looked_up(index, seed, &name),
            Event::Greet(greeting) => self.greet(greeting),
            Event::Answered(greeting) => self.answered(greeting),
            Event::Probed {
                holder,
                alive,
                greeting,
                ..
            } => self.probed(holder, alive, greeting),
            Event::DialEnded(attempt, outcome) => self.dial_ended(&attempt, outcome),
            Event::Write(id) => self.write(id),
            Event::Deliver(id) => self.deliver(id),
            Event::Broken(id) => self.broken(id),
            Event::FailureDetector(a, b, since) => {
                if self.net.is_silent_since(a, b, since) {
                    self.break_between(a, b);
                }
            }
            Event::Request(client) => crate::client::request(self, client),
            Event::GiveUp(client, request) => crate::client::give_up(self, client, request),
            Event::Fault => crate::faults::strike(self),
            Event::Act(generation, act) => {
                if generation == self.faults.generation {
                    crate::faults::act(self, act);
                }
            }
        }
    }

    /// One call of a node's engine, and what follows from it. `None` when no process runs there.
    pub fn call<T>(&mut self, index: usize, call: impl FnOnce(&mut Engine, Now) -> T) -> Option<T> {
        let (result, outputs) = self.engine(index, call)?;
        self.carry_out_all(index, outputs);
        Some(result)
    }

    /// One call of a node's engine, and what it asks for. `None` when no process runs there.
    pub fn engine<T>(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Engine, Now) -> T,
    ) -> Option<(T, Vec<Output>)> {
        let host = &mut self.hosts[index];
        let now = host.now(self.now);
        let engine = host.engine.as_mut()?;
        let result = call(engine, now);
        let outputs = engine.take_outputs();
        let started_over = engine.counters().started_over;
        let (corrected, shift) = (engine.counters().time_corrected, engine.shift());
        if std::mem::replace(&mut host.corrected, corrected) < corrected {
            let kept = engine.kept_aside().into_iter().flat_map(Memory::iter);
            host.kept_aside = kept.map(|(key, record)| (key.clone(), record.clone())).collect();
            host.last_stamp = Stamp::ZERO;
            host.was_ready = false;
            self.trace.line(self.now, "time corrected", index, 0, 0);
            self.reached.note(Rare::Corrected);
            self.lost_memory(index);
        } else if std::mem::replace(&mut host.started_over, started_over) < started_over {
            host.was_ready = false;
            if engine.kept_aside().is_none() {
                host.kept_aside.clear();
            }
            self.trace.line(self.now, "starts over", index, 0, 0);
            self.reached.note(Rare::StartedOver);
            self.lost_memory(index);
        } else if let Some(shift) = shift.filter(|_| !host.kept_aside.is_empty()).cloned() {
            let kept = std::mem::take(&mut host.kept_aside);
            let incarnation = host.incarnation();
            self.history.stamped_anew(incarnation, kept, &shift, self.now);
        }
        Some((result, outputs))
    }

    /// Does what a node's engine asked for.
    pub fn carry_out_all(&mut self, index: usize, outputs: Vec<Output>) {
        crate::propose::observe(self, index);
        outputs
            .into_iter()
            .for_each(|output| self.carry_out(index, output));
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        let epoch = self.hosts[index].epoch;
        match output {
            Output::Dial(addr) => self.want_link(index, host::index_of(addr)),
            Output::DialBack(addr) => self.want_link_back(index, host::index_of(addr)),
            Output::Wake(node, stream) | Output::Changes(node, stream) => {
                self.wake(index, host::called(&node), stream)
            }
            Output::Close(node, stream) => self.close(index, host::called(&node), stream),
            Output::Timer(after, timer) => {
                self.after(
                    after.as_micros() as u64,
                    Event::Timer(index, epoch, Box::new(timer)),
                );
            }
            Output::Copies(waiter, copies) => {
                if let Some((client, request)) = self.waiters.remove(&(index, epoch, waiter)) {
                    crate::client::answered(self, client, request, copies);
                }
            }
            Output::Fetched(id, answered) => crate::client::fetched(self, index, id, answered),
            Output::Decided(id, result) => crate::propose::decided(self, index, id, result),
            Output::Entropy => {
                let entropy = host::entropy(index, self.now);
                self.call(index, |engine, now| engine.add_entropy(&entropy, now));
            }
            // Simulated nodes have no store.
            Output::Table(_) | Output::Discard(_) | Output::Committed | Output::Load(..) => {}
        }
    }

    /// Starts node `index` with an empty memory.
    pub fn start(&mut self, index: usize) {
        self.trace.line(self.now, "start", index, 0, 0);
        let told = |other: &usize| *other != index && (self.plan.seeds != Seeds::FirstTwo || *other < 2);
        let seeds: Vec<usize> = (0..self.plan.nodes).filter(told).collect();
        self.net.dark[index] = false;
        self.paths_changed(index);
        let (plan, now) = (self.plan.clone(), self.now);
        self.hosts[index].start(&plan, &seeds, now);
        self.note_clocks();
        let epoch = self.hosts[index].epoch;
        self.call(index, |_, _| ());
        self.wake_keeper(index, now);
        let phase = self.draw.below(TICK.as_micros() as u64);
        self.after(phase, Event::Tick(index, epoch));
    }

    /// A node that joins may begin the cluster with what clocks say now.
    pub fn note_clocks(&mut self) {
        if self
            .hosts
            .iter()
            .any(|host| host.engine.is_some() && !host.was_ready)
        {
            let ahead = self.hosts.iter().map(|host| host.clock.off_ms);
            self.latest_joining_ms = ahead.fold(self.latest_joining_ms, i64::max);
        }
    }

    /// The process of node `index` is killed; `dark`: its machine is off as well, and nobody says so.
    pub fn crash(&mut self, index: usize, dark: bool) {
        if self.hosts[index].engine.is_none() {
            return;
        }
        self.trace.line(self.now, "crash", index, usize::from(dark), 0);
        self.history
            .lost_memory(self.hosts[index].incarnation(), self.now);
        self.net.dark[index] = dark;
        let ids: Vec<ConnId> = self.net.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.net.conns.get_mut(&id) else {
                continue;
            };
            if conn.from == index {
                self.net.cut_short(id);
            } else if conn.to == index {
                conn.unread();
                if !dark && conn.up {
                    let (from, to) = (conn.from, conn.to);
                    let delay = self.net.delay(to, from);
                    self.after(delay, Event::Broken(id));
                } else {
                    self.wake_conn(id);
                }
            }
        }
        self.hosts[index].stop();
        self.paths_changed(index);
        crate::client::disconnected(self, index);
    }

    /// A process dropped its table, because it may have missed tombstones or stamped it wrongly.
    fn lost_memory(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        self.history.lost_memory(host.incarnation(), self.now);
        host.memory += 1;
        host.began_memory = self.now;
    }

    /// SIGSTOP.
    pub fn pause(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.engine.is_some() && !host.paused {
            host.paused = true;
            host.paused_at = self.now;
            self.trace.line(self.now, "pause", index, 0, 0);
        }
    }

    /// SIGCONT: everything that waited happens now, in order.
    pub fn resume(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.paused {
            return;
        }
        host.paused = false;
        host.resumed_at = self.now;
        self.trace.line(self.now, "resume", index, 0, 0);
        let deferred = std::mem::take(&mut host.deferred);
        for event in deferred {
            self.after(0, event);
        }
        let ids: Vec<ConnId> = self.net.conns.keys().copied().collect();
        for id in ids {
            self.wake_conn(id);
            self.schedule_delivery(id);
        }
    }

    /// The paths of `index` to everybody may be other than they were.
    pub fn paths_changed(&mut self, index: usize) {
        for other in 0..self.plan.nodes {
            if other != index {
                self.path_changed(index, other);
            }
        }
    }

    /// The path between the two may be other than it was.
    pub fn path_changed(&mut self, a: usize, b: usize) {
        if let Some(since) = self.net.note(a, b, self.now) {
            self.after(crate::network::SILENCE_US, Event::FailureDetector(a, b, since));
        }
        match self.net.way(a, b) {
            Pass::Reject => self.break_between(a, b),
            Pass::Drop | Pass::Open => {
                let ids: Vec<_> = self
                    .net
                    .conns
                    .iter()
                    .filter(|(_, conn)| (conn.from, conn.to) == (a, b) || (conn.from, conn.to) == (b, a))
                    .map(|(id, _)| *id)
                    .collect();
                for id in ids {
                    self.schedule_delivery(id);
                    self.send_end(id);
                }
            }
        }
    }
}
