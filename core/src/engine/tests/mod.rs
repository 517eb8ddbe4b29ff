//! Several engines in one process, their messages carried by hand, time moved by hand. This is the harness; the
//! claims are in [`life`] (what a healthy or cut cluster does), [`tombstones`] (expiry, deletion), [`renames`], [`leaving`]
//! (deleting everything first), [`conditional`], [`away`] (a node that was gone for long), [`backup`] (where not every node holds every
//! session), [`clocks`] (clocks that are wrong or set), [`events`] (what listeners are told), [`faults`] (what goes wrong between two nodes), [`streams`] (several
//! links to one peer), [`members`] (who is there), [`transfers`] (how a node gets the table) and [`workers`] (admin states,
//! and workers that go for good).

mod away;
mod backup;
mod clocks;
mod conditional;
mod events;
mod faults;
mod leaving;
mod life;
mod members;
mod oversized;
mod quorum;
mod renames;
mod store;
mod streams;
mod tombstones;
mod transfers;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use super::conditional::DecisionId;
use super::sessions::{InUse, Patch, Refused, Written};
use super::workers::token_keys::Entropy;
use limpet_wire::report::IdleLimit;

use super::backup::fetch;
use super::*;
use crate::base::id::SessionKey;
use crate::membership::{SwimConfig, Timer};
use crate::replication::acks::Level;
use crate::replication::acks::Waiter;
use crate::replication::message::{self, DeclaredWorker};
use crate::replication::streams::CONTROL;
use crate::replication::write_set::WriteSet;

/// How many links each node makes to each other one.
const STREAMS: usize = 3;

/// What stands for random bytes of the operating system.
const ENTROPY: Entropy = [0xa5; 36];

/// Milliseconds since 1970 at which every test begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A cluster whose network can be cut.
struct Cluster {
    engines: BTreeMap<NodeId, Engine>,
    links: BTreeMap<(NodeId, NodeId, StreamId), InboundLink>,
    cut: BTreeSet<(NodeId, NodeId)>,
    timers: Vec<(Duration, NodeId, Timer)>,
    copies: BTreeMap<(NodeId, Waiter), usize>,
    fetched: BTreeMap<(NodeId, fetch::FetchId), bool>,
    decided: BTreeMap<(NodeId, DecisionId), Result<Written, Refused>>,
    /// What stores were asked for.
    loads: Vec<(NodeId, fetch::FetchId)>,
    mode: Mode,
    tombstone_life: Duration,
    queue_bytes: usize,
    quorum_founders: Option<usize>,
    /// How far the wall clocks of some nodes are ahead.
    skew_ms: BTreeMap<NodeId, i64>,
    /// For how long the machines of some nodes were halted: their monotonic clocks stood still.
    halted: BTreeMap<NodeId, Duration>,
    elapsed: Duration,
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// Where the node called `name` listens.
fn addr_of(name: &str) -> std::net::SocketAddr {
    let last = name.bytes().map(u32::from).sum::<u32>() % 250;
    format!("10.0.0.{last}:4000").parse().unwrap()
}

fn key(id: &str) -> SessionKey {
    SessionKey::parse("default", id).unwrap()
}

fn set(name: &str, value: &str) -> Patch {
    Patch {
        set: vec![(name.to_owned(), value.as_bytes().into())],
        ..Patch::default()
    }
}

/// The worker of the node with the same name.
fn worker(name: &str) -> DeclaredWorker {
    DeclaredWorker {
        route: name.to_owned(),
        url: format!("http://{name}"),
        addr: "127.0.0.1:8080".into(),
        weight: 1,
        healthy: true,
    }
}

impl Engine {
    /// Everything it has to say to `node` on `stream` now, changes included.
    fn says(&mut self, node: &NodeId, stream: StreamId) -> Vec<message::Message> {
        let mut messages = self.next_messages(node, stream);
        let mut changes = Vec::new();
        if self.next_changes(node, stream, &mut changes).is_some() {
            messages.push(message::decode(&changes).unwrap());
        }
        messages
    }
}

impl Cluster {
    fn new() -> Self {
        Self {
            engines: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            timers: Vec::new(),
            copies: BTreeMap::new(),
            fetched: BTreeMap::new(),
            decided: BTreeMap::new(),
            loads: Vec::new(),
            mode: Mode::Delta,
            tombstone_life: Duration::from_secs(24 * 3600),
            queue_bytes: 1 << 20,
            quorum_founders: None,
            skew_ms: BTreeMap::new(),
            halted: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }

    fn of(names: &[&str]) -> Self {
        Self::in_mode(Mode::Delta, names)
    }

    fn in_mode(mode: Mode, names: &[&str]) -> Self {
        let mut cluster = Self::new();
        cluster.mode = mode;
        cluster.begin(names)
    }

    fn begin(self, names: &[&str]) -> Self {
        let mut cluster = self;
        for name in names {
            cluster.start(name);
            // In `backup` mode a node listens first for members that nobody names.
            cluster.run(Duration::from_secs(if cluster.mode == Mode::Delta {
                2
            } else {
                3
            }));
        }
        cluster
    }

    /// Calls the engine of `name`.
    fn at<T>(&mut self, name: &str, call: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let now = self.now();
        call(self.engines.get_mut(&node(name)).unwrap(), now)
    }

    fn now(&self) -> Now {
        let elapsed_ms = u64::try_from(self.elapsed.as_millis()).unwrap();
        Now {
            wall_ms: BEGIN_MS + elapsed_ms,
            mono: self.elapsed,
        }
    }

    /// What the clocks of a node show.
    fn now_at(&self, id: &NodeId) -> Now {
        let now = self.now();
        let ahead_ms = self.skew_ms.get(id).copied().unwrap_or(0);
        Now {
            wall_ms: now.wall_ms.saturating_add_signed(ahead_ms),
            mono: now
                .mono
                .saturating_sub(self.halted.get(id).copied().unwrap_or_default()),
        }
    }

    /// Starts a node with an empty memory, in place of an earlier incarnation if there is one.
    fn start(&mut self, name: &str) {
        self.start_at(name, self.now_at(&node(name)).wall_ms);
    }

    /// The same for a node whose clock shows `wall_ms` when it begins.
    fn start_at(&mut self, name: &str, wall_ms: u64) {
        let id = node(name);
        self.timers.retain(|(_, owner, _)| *owner != id);
        self.links.retain(|(from, to, _), _| *from != id && *to != id);
        let config = EngineConfig {
            node: id.clone(),
            cluster: "shop".into(),
            addr: addr_of(name),
            swim: SwimConfig {
                probe_interval: Duration::from_millis(500),
                drop_time: Duration::from_secs(3),
            },
            seeds: BTreeSet::new(),
            hints: false,
            links: STREAMS,
            mode: self.mode,
            donor_transfers: 2,
            repair_interval: Duration::from_secs(5),
            quorum_founders: self.quorum_founders,
            queue_bytes: self.queue_bytes,
            state_transfer_timeout: Some(Duration::from_secs(60)),
            max_inactive: IdleLimit::Millis(1_800_000),
            max_active: None,
            touch_interval: Duration::from_secs(60),
            tombstone_life: self.tombstone_life,
            rename_forward: Duration::from_secs(30),
            clocks: ClockLimits::default(),
            quarantine: BTreeSet::new(),
            fail_on_id: None,
            workers: vec![worker(name)],
            seed: 7,
        };
        let mut config = config;
        // A node that knows of others waits for them; the first one has nobody to wait for.
        config.seeds = self
            .engines
            .keys()
            .filter(|other| **other != id)
            .map(ToString::to_string)
            .collect();
        let seeds = config.seeds.clone();
        let cut = |seed: &NodeId| self.cut.contains(&(id.clone(), seed.clone()));
        let silent: Vec<bool> = seeds.iter().map(|seed| cut(&node(seed))).collect();
        let begin = Now {
            wall_ms,
            ..self.now()
        };
        let mut engine = Engine::new(config, begin);
        for output in engine.take_outputs() {
            if matches!(output, Output::Entropy) {
                engine.add_entropy(&ENTROPY, begin);
            }
        }
        engine.take_outputs();
        self.engines.insert(id.clone(), engine);
        for (from, to) in self.pairs() {
            self.down(&from, &to, true);
        }
        self.relink();
        let now = self.now_at(&id);
        let engine = self.engines.get_mut(&id).unwrap();
        for (seed, is_cut) in seeds.iter().zip(silent) {
            engine.seed_resolved(seed, &[addr_of(seed)], now);
            if is_cut {
                engine.unreachable(addr_of(seed), true, now); // what is between them refuses in its name
            } else {
                engine.answered(addr_of(seed), Answer::Node(node(seed)), now);
            }
        }
    }

    fn pairs(&self) -> Vec<(NodeId, NodeId)> {
        let nodes: Vec<_> = self.engines.keys().cloned().collect();
        let pairs = nodes
            .iter()
            .flat_map(|a| nodes.iter().map(move |b| (a.clone(), b.clone())));
        pairs.filter(|(a, b)| a != b).collect()
    }

    fn down(&mut self, from: &NodeId, to: &NodeId, refused: bool) {
        let now = self.now_at(from);
        if !self.links.contains_key(&(from.clone(), to.clone(), CONTROL)) {
            let engine = self.engines.get_mut(from).unwrap();
            if engine.peers().get(to).is_some_and(Peer::is_linked) {
                engine.link_down(to, CONTROL, refused, now);
            }
        }
    }

    /// Makes every link that can be made.
    fn relink(&mut self) {
        for (from, to) in self.pairs() {
            let now = self.now_at(&from);
            for stream in StreamId::first(STREAMS) {
                let link = (from.clone(), to.clone(), stream);
                if self.cut.contains(&(from.clone(), to.clone())) || self.links.contains_key(&link) {
                    continue;
                }
                let identity = self.engines[&to].identity().clone();
                let addr = self.engines[&from].identity().addr;
                let listening = self.engines.get_mut(&to).unwrap().on_hello(&from, stream, addr);
                self.engines
                    .get_mut(&from)
                    .unwrap()
                    .link_up(&to, identity, stream, now);
                self.links.insert(link, listening);
            }
        }
    }

    /// Cuts every link between the two groups.
    fn part(&mut self, left: &[&str], right: &[&str]) {
        for (a, b) in left
            .iter()
            .flat_map(|a| right.iter().map(move |b| (node(a), node(b))))
        {
            for (from, to) in [(a.clone(), b.clone()), (b.clone(), a.clone())] {
                self.unlink(&from, &to);
                self.cut.insert((from.clone(), to.clone()));
                self.down(&from, &to, false);
            }
        }
    }

    fn unlink(&mut self, from: &NodeId, to: &NodeId) {
        self.links.retain(|(a, b, _), _| (a, b) != (from, to));
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.relink();
    }

    /// Carries messages until none is left.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut moved = false;
            let links: Vec<_> = self.links.iter().map(|(link, on)| (link.clone(), *on)).collect();
            for ((from, to, stream), on) in links {
                let (now_from, now) = (self.now_at(&from), self.now_at(&to));
                for message in self.engines.get_mut(&from).unwrap().says(&to, stream) {
                    let arrived = message::decode(&message::encode(&message).unwrap()).unwrap();
                    assert_eq!(arrived, message, "a message changed on its way");
                    moved = true;
                    if !self
                        .engines
                        .get_mut(&to)
                        .unwrap()
                        .on_message(&from, on, arrived, now)
                    {
                        self.links.remove(&(from.clone(), to.clone(), stream));
                        self.engines
                            .get_mut(&from)
                            .unwrap()
                            .link_down(&to, stream, false, now_from);
                        break; // the rest of what was on the link is lost
                    }
                }
            }
            let nodes: Vec<_> = self.engines.keys().cloned().collect();
            for id in nodes {
                let now = self.now_at(&id);
                let engine = self.engines.get_mut(&id).unwrap();
                assert!(engine.is_table_current() && engine.is_view_current(), "at {id}");
                for output in engine.take_outputs() {
                    match output {
                        Output::Timer(after, timer) => {
                            self.timers.push((self.elapsed + after, id.clone(), timer))
                        }
                        Output::Copies(waiter, copies) => {
                            self.copies.insert((id.clone(), waiter), copies);
                        }
                        Output::Entropy => {
                            self.engines.get_mut(&id).unwrap().add_entropy(&ENTROPY, now);
                        }
                        Output::Fetched(fetch, answered) => {
                            self.fetched.insert((id.clone(), fetch), answered);
                        }
                        Output::Decided(proposal, result) => {
                            self.decided.insert((id.clone(), proposal), result);
                        }
                        Output::Load(fetch, _) => self.loads.push((id.clone(), fetch)),
                        Output::Close(to, stream)
                            if self.links.remove(&(id.clone(), to.clone(), stream)).is_some() =>
                        {
                            self.engines
                                .get_mut(&id)
                                .unwrap()
                                .link_down(&to, stream, false, now);
                        }
                        _ => {}
                    }
                }
            }
            if !moved {
                return;
            }
        }
        panic!("messages never end");
    }

    fn run(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while self.elapsed < end {
            self.settle();
            self.elapsed += Duration::from_millis(50);
            let (due, later) = std::mem::take(&mut self.timers)
                .into_iter()
                .partition(|(at, ..)| *at <= self.elapsed);
            self.timers = later;
            for (at, id, timer) in due {
                let now = self.now_at(&id);
                match self.engines.get_mut(&id) {
                    Some(engine) => engine.fire(timer, now),
                    None => self.timers.push((at, id, timer)), // it stands still
                }
            }
            let nodes: Vec<_> = self.engines.keys().cloned().collect();
            for id in nodes {
                let now = self.now_at(&id);
                self.engines.get_mut(&id).unwrap().tick(now);
            }
            self.relink();
        }
        self.settle();
    }

    fn patch(&mut self, at: &str, id: &str, patch: Patch) -> WriteSet {
        let now = self.now_at(&node(at));
        self.engines
            .get_mut(&node(at))
            .unwrap()
            .patch(&key(id), patch, now)
            .unwrap()
            .write_set
    }

    fn value(&self, at: &str, id: &str, name: &str) -> Option<String> {
        let record = self.engines[&node(at)].session(&key(id), self.now_at(&node(at)))?;
        let (_, value) = record.values().find(|(n, _)| ***n == *name)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    fn assert_converged(&self) {
        for (id, engine) in &self.engines {
            assert_eq!(
                engine.selfcheck().differences,
                [""; 0],
                "kept and counted at {id}"
            );
        }
        let digests: Vec<_> = self
            .engines
            .iter()
            .map(|(id, e)| (id.clone(), e.table().digests().fold(0, |a, b| a ^ b)))
            .collect();
        assert!(
            digests.windows(2).all(|pair| pair[0].1 == pair[1].1),
            "tables differ: {digests:?}"
        );
    }
}
