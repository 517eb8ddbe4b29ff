//! Whole engines in `backup` mode: what each says when nothing happens, and how soon there are two of each session
//! again after a node is gone without a word.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limpet_core::base::clock::Now;
use limpet_core::base::id::{NodeId, SessionKey};
use limpet_core::engine::sessions::Patch;
use limpet_core::engine::{ClockLimits, Engine, EngineConfig, InboundLink, Mode, Output};
use limpet_core::membership::Member;
use limpet_core::replication::message::{self, DeclaredWorker};
use limpet_core::replication::position::StreamId;
use limpet_core::replication::streams::CONTROL;
use limpet_wire::report::IdleLimit;

use super::{BEGIN_MS, Rate, SWIM, Sent, Timers, VICTIM, addr_of, index_of, threads};
use crate::host::{called, name_of};

/// As many as the configuration's default.
const STREAMS: usize = 2;
/// More than the default, so that a hundred nodes that start within seconds need not queue for each other's tables.
const DONOR_TRANSFERS: usize = 16;
const REPAIR_INTERVAL: Duration = Duration::from_secs(5);
/// How often engines tick.
const TICK: Duration = Duration::from_millis(50);
/// How often it is looked whether sessions are where they belong.
const LOOK: Duration = Duration::from_millis(250);
const SESSIONS_PER_NODE: usize = 10;

type Link = (usize, usize, StreamId);

/// A node in `backup` mode, what is on its way to it and what it sent and wants since it was last looked at.
struct Node {
    engine: Engine,
    timers: Timers,
    inbox: Vec<(usize, InboundLink, Vec<u8>)>,
    outbox: Vec<(usize, InboundLink, Vec<u8>)>,
    dials: BTreeSet<usize>,
    closed: Vec<(usize, StreamId)>,
}

impl Node {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            timers: Timers::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            dials: BTreeSet::new(),
            closed: Vec::new(),
        }
    }

    /// It receives what arrived, its timers and ticks come when they are due, and it sends what waits.
    fn turn(&mut self, own: usize, links: &BTreeMap<Link, InboundLink>, now: Now, looks: bool, ticks: bool) {
        for (from, on, bytes) in std::mem::take(&mut self.inbox) {
            let message = message::decode(&bytes).expect("what was encoded");
            self.engine.on_message(&name_of(from), on, message, now);
        }
        while let Some(timer) = self.timers.take_due(now.mono) {
            self.engine.fire(timer, now);
        }
        if ticks {
            self.engine.tick(now);
        }
        if looks {
            let wanted = self.engine.wanted_links(now);
            self.dials.extend(wanted.into_iter().map(index_of));
        }
        let mut awake = BTreeSet::new();
        let mut outputs = self.engine.take_outputs();
        while !outputs.is_empty() {
            for output in outputs {
                self.carry_out(output, own, links, &mut awake, now);
            }
            outputs = self.engine.take_outputs();
        }
        for (to, stream) in awake {
            if let Some(on) = links.get(&(own, to, stream)) {
                self.send_waiting(to, stream, *on);
            }
        }
    }

    fn carry_out(
        &mut self,
        output: Output,
        own: usize,
        links: &BTreeMap<Link, InboundLink>,
        awake: &mut BTreeSet<(usize, StreamId)>,
        now: Now,
    ) {
        match output {
            Output::Dial(addr) | Output::DialBack(addr) => drop(self.dials.insert(index_of(addr))),
            Output::Wake(peer, stream) | Output::Changes(peer, stream) => {
                awake.insert((called(&peer), stream));
            }
            Output::Timer(after, timer) => self.timers.start(now.mono + after, timer),
            Output::Close(peer, stream) => {
                let link = (called(&peer), stream);
                if links.contains_key(&(own, link.0, stream)) && !self.closed.contains(&link) {
                    self.closed.push(link);
                    self.engine.link_down(&peer, stream, false, now);
                }
            }
            Output::Entropy => {
                let byte = u8::try_from(own % 256).expect("a byte");
                self.engine.add_entropy(&[byte; 36], now);
            }
            Output::Copies(..)
            | Output::Fetched(..)
            | Output::Decided(..)
            | Output::Table(_)
            | Output::Discard(_)
            | Output::Committed
            | Output::Load(..) => {}
        }
    }

    /// Everything that waits for `to` on a stream.
    fn send_waiting(&mut self, to: usize, stream: StreamId, on: InboundLink) {
        loop {
            let peer = name_of(to);
            let messages = self.engine.next_messages(&peer, stream);
            let encoded = |message| message::encode(message).expect("it can be sent");
            let mut sent: Vec<_> = messages.iter().map(encoded).collect();
            let mut changes = Vec::new();
            if self.engine.next_changes(&peer, stream, &mut changes).is_some() {
                sent.push(changes);
            }
            if sent.is_empty() {
                return;
            }
            self.outbox.extend(sent.into_iter().map(|bytes| (to, on, bytes)));
        }
    }
}

/// Nodes, and links as the daemon's would be.
struct Domain {
    nodes: Vec<Option<Node>>,
    links: BTreeMap<Link, InboundLink>,
    dials: BTreeSet<(usize, usize)>,
    now: Duration,
    sent: Sent,
}

impl Domain {
    const STEP: Duration = Duration::from_millis(10);

    /// As many nodes, started one after the other, which know of the first.
    fn of(nodes: usize) -> Self {
        let mut domain = Self {
            nodes: Vec::new(),
            links: BTreeMap::new(),
            dials: BTreeSet::new(),
            now: Duration::ZERO,
            sent: Sent::default(),
        };
        for index in 0..nodes {
            domain.start(index);
            domain.run(TICK);
        }
        let begin = domain.now;
        while !domain.is_whole() {
            let took = domain.now - begin;
            assert!(
                took < Duration::from_secs(60),
                "after {took:?} some are not ready or not linked"
            );
            domain.step();
        }
        domain
    }

    fn clock(&self) -> Now {
        Now {
            wall_ms: BEGIN_MS + self.now.as_millis() as u64,
            mono: self.now,
        }
    }

    fn start(&mut self, index: usize) {
        let seeds: BTreeSet<String> = (index > 0).then(|| addr_of(0).to_string()).into_iter().collect();
        let config = EngineConfig {
            node: name_of(index),
            cluster: "shop".into(),
            addr: addr_of(index),
            swim: SWIM,
            seeds,
            hints: false,
            links: STREAMS,
            mode: Mode::Backup { copies: 1 },
            donor_transfers: DONOR_TRANSFERS,
            repair_interval: REPAIR_INTERVAL,
            quorum_founders: None,
            queue_bytes: 1 << 26,
            state_transfer_timeout: Some(Duration::from_secs(60)),
            max_inactive: IdleLimit::Millis(1_800_000),
            max_active: None,
            touch_interval: Duration::from_secs(60),
            tombstone_life: Duration::from_secs(24 * 3600),
            rename_forward: Duration::from_secs(30),
            clocks: ClockLimits::default(),
            quarantine: BTreeSet::new(),
            fail_on_id: None,
            workers: vec![DeclaredWorker {
                route: format!("w{index}"),
                url: format!("http://worker-{index}"),
                addr: "127.0.0.1:8080".into(),
                weight: 1,
                healthy: true,
            }],
            seed: index as u64,
        };
        self.nodes
            .push(Some(Node::new(Engine::new(config, self.clock()))));
        if index > 0 {
            self.dials.insert((index, 0));
        }
    }

    fn alive(&self) -> impl Iterator<Item = &Engine> {
        self.nodes.iter().flatten().map(|node| &node.engine)
    }

    fn is_whole(&self) -> bool {
        let others = self.alive().count() - 1;
        self.alive().all(|engine| {
            let fits = |(_, member): &(&NodeId, &Member)| member.active && member.linked && member.ready;
            engine.check_ready().is_ok() && engine.roster().iter().filter(fits).count() == others
        })
    }

    /// Makes the links that were asked for and are not there.
    fn dial(&mut self) {
        let now = self.clock();
        for (from, to) in std::mem::take(&mut self.dials) {
            if from == to || self.links.contains_key(&(from, to, CONTROL)) {
                continue;
            }
            let (dialler, addr) = (name_of(from), addr_of(from));
            let answer = self.nodes[to].as_mut().map(|node| {
                let streams: Vec<_> = StreamId::first(STREAMS)
                    .map(|stream| (stream, node.engine.on_hello(&dialler, stream, addr)))
                    .collect();
                (node.engine.identity().clone(), streams)
            });
            let Some(node) = &mut self.nodes[from] else {
                continue;
            };
            match answer {
                None => node.engine.unreachable(addr_of(to), false, now),
                Some((identity, streams)) => {
                    for (stream, on) in streams {
                        node.engine.link_up(&name_of(to), identity.clone(), stream, now);
                        self.links.insert((from, to, stream), on);
                    }
                }
            }
            node.engine
                .seed_resolved(&addr_of(to).to_string(), &[addr_of(to)], now);
        }
    }

    fn step(&mut self) {
        self.now += Self::STEP;
        self.dial();
        let now = self.clock();
        let is_time = |every: Duration| self.now.as_millis().is_multiple_of(every.as_millis());
        let (ticks, looks) = (is_time(TICK), is_time(Duration::from_secs(1)));
        let links = &self.links;
        let share = self.nodes.len().div_ceil(threads());
        std::thread::scope(|scope| {
            for (part, nodes) in self.nodes.chunks_mut(share).enumerate() {
                scope.spawn(move || {
                    for (offset, node) in nodes.iter_mut().enumerate() {
                        if let Some(node) = node {
                            node.turn(part * share + offset, links, now, looks, ticks);
                        }
                    }
                });
            }
        });
        let mut sent = Vec::new();
        for (from, node) in self.nodes.iter_mut().enumerate() {
            let Some(node) = node else { continue };
            self.dials
                .extend(std::mem::take(&mut node.dials).into_iter().map(|to| (from, to)));
            for (to, stream) in std::mem::take(&mut node.closed) {
                self.links.remove(&(from, to, stream));
            }
            for (to, on, bytes) in std::mem::take(&mut node.outbox) {
                self.sent.count(bytes.len());
                sent.push((to, (from, on, bytes)));
            }
        }
        for (to, arrival) in sent {
            if let Some(node) = &mut self.nodes[to] {
                node.inbox.push(arrival);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Sessions at every node, bound to its worker.
    fn fill(&mut self) {
        let now = self.clock();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let engine = &mut node.as_mut().expect("all run").engine;
            for number in 0..SESSIONS_PER_NODE {
                let key = SessionKey::parse("default", &format!("S{index}-{number}")).expect("a key");
                let patch = Patch {
                    set: vec![("v".to_owned(), vec![b'x'; 200].as_slice().into())],
                    route: Some(format!("w{index}")),
                    ..Patch::default()
                };
                engine.patch(&key, patch, now).expect("it is ready");
            }
        }
    }

    /// How many sessions so many nodes hold.
    fn spread(&self) -> BTreeMap<usize, usize> {
        let mut holders = BTreeMap::<&SessionKey, usize>::new();
        for engine in self.alive() {
            let sessions = engine.table().iter();
            for (key, _) in sessions.filter(|(key, record)| record.is_alive() && !key.is_reserved()) {
                *holders.entry(key).or_default() += 1;
            }
        }
        let mut spread = BTreeMap::new();
        for count in holders.into_values() {
            *spread.entry(count).or_default() += 1;
        }
        spread
    }

    /// Goes on until exactly two nodes hold each of the sessions; says how long that was.
    fn until_two_hold_each(&mut self, limit: Duration) -> Duration {
        let all = BTreeMap::from([(2, SESSIONS_PER_NODE * self.nodes.len())]);
        let begin = self.now;
        while self.spread() != all {
            let took = self.now - begin;
            assert!(
                took < limit,
                "after {took:?} so many nodes hold so many: {:?}",
                self.spread()
            );
            self.run(LOOK);
        }
        self.now - begin
    }
}

/// A domain that is filled, is quiet and loses one of its nodes.
fn domain_of(nodes: usize) -> Rate {
    let mut domain = Domain::of(nodes);
    let joined = domain.now;
    domain.fill();
    let spread = domain.until_two_hold_each(Duration::from_secs(10));
    domain.run(Duration::from_secs(3)); // until nothing is on its way any more
    let (before, window) = (domain.sent, REPAIR_INTERVAL);
    domain.run(window);
    let rate = domain.sent.rate(before, nodes, window);
    domain.until_two_hold_each(Duration::ZERO);
    domain.nodes[VICTIM] = None;
    let whole = domain.until_two_hold_each(Duration::from_secs(90));
    println!(
        "{nodes} nodes: all joined after {joined:?}, two hold each session after {spread:?}; quiet, each says {:.1} \
         messages and {:.0} bytes per second; after one is gone two hold each session again after {whole:?}",
        rate.messages, rate.bytes
    );
    rate
}

#[test]
fn a_hundred_nodes_in_backup_mode_talk_no_more_each_than_ten() {
    let (ten, hundred) = (domain_of(10), domain_of(100));
    assert!(
        hundred.messages <= 2.0 * ten.messages,
        "{hundred:?} is more than {ten:?}"
    );
}
