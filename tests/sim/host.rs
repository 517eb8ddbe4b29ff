//! One simulated process and the machine it runs on: an engine, a link keeper, their clocks, and the connections that
//! were made. What happens when is the world's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use limpet_core::base::clock::Now;
use limpet_core::base::id::NodeId;
use limpet_core::drivers::links::keeper::{AttemptId, KeeperConfig, LinkKeeper};
use limpet_core::engine::workers::token_keys::Entropy;
use limpet_core::engine::{ClockLimits, Engine, EngineConfig};
use limpet_core::replication::message::DeclaredWorker;
use limpet_core::replication::position::StreamId;

use crate::clock::WallClock;
use crate::history::Incarnation;
use crate::network::ConnId;
use crate::plan::{Plan, Seeds};
use crate::world::Event;

/// How look-ups go at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookUps {
    #[default]
    Work,
    /// They say that there is no such name.
    Fail,
    /// They answer after so many microseconds.
    Slow(u64),
}

/// See the module page.
#[derive(Debug)]
pub struct Host {
    pub index: usize,
    pub id: NodeId,
    pub engine: Option<Engine>,
    /// Counts its processes.
    pub epoch: u32,
    /// Counts its memories: a process that starts over has another one.
    pub memory: u32,
    pub began: u64,
    /// When its memory began.
    pub began_memory: u64,
    /// How often the process has started over.
    pub started_over: u64,
    pub paused: bool,
    pub clock: WallClock,
    /// How far its wall clock is off when nobody has set it.
    pub usual_ms: i64,
    /// How often its time was corrected, and what it held then, until that is stamped anew.
    pub corrected: u64,
    pub kept_aside: Vec<(limpet_core::base::id::SessionKey, limpet_core::session::Record)>,
    /// What happened to it while it was paused.
    pub deferred: VecDeque<Event>,
    /// Its own links, by peer and stream.
    pub links: BTreeMap<(usize, StreamId), ConnId>,
    /// Decides whom to dial, as in the daemon.
    pub keeper: Option<LinkKeeper>,
    /// When the keeper acts next.
    pub keeper_due: Option<u64>,
    /// How its look-ups go.
    pub look_ups: LookUps,
    /// The keeper's attempts: without a connection while they are under way.
    pub attempts: BTreeMap<AttemptId, Option<ConnId>>,
    pub was_ready: bool,
    pub ready_at: u64,
    pub paused_at: u64,
    pub resumed_at: u64,
    pub donor: Option<String>,
    /// What it was last shown to make of the others.
    pub shown: Vec<String>,
    /// The last stamp it took.
    pub last_stamp: limpet_core::session::Stamp,
}

/// Where node `index` listens.
pub fn addr_of(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index as u8 + 1], 4000))
}

/// The name whose addresses are all nodes, and how often it is looked up.
const ALL_NODES: &str = "all:4000";
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(10);

/// What a name resolves to among `nodes` nodes.
pub fn resolve(name: &str, nodes: usize) -> Vec<SocketAddr> {
    let one = name
        .strip_prefix('n')
        .and_then(|rest| rest.split(':').next()?.parse().ok());
    match one {
        Some(index) => vec![addr_of(index)],
        None => (0..nodes).map(addr_of).collect(),
    }
}

/// Who listens there.
pub fn index_of(addr: SocketAddr) -> usize {
    match addr {
        SocketAddr::V4(v4) => usize::from(v4.ip().octets()[3]) - 1,
        SocketAddr::V6(_) => unreachable!("no node has such an address"),
    }
}

/// What stands for random bytes of the operating system of node `index`: others at another time or node.
pub fn entropy(index: usize, at_us: u64) -> Entropy {
    let seed = at_us ^ (index as u64) << 48;
    std::array::from_fn(|at| seed.to_le_bytes()[at % 8].wrapping_mul(at as u8 | 1))
}

/// What node `index` is called.
pub fn name_of(index: usize) -> NodeId {
    NodeId::parse(&format!("n{index}")).expect("a name")
}

/// Who is called that.
pub fn called(node: &NodeId) -> usize {
    node.as_str()[1..].parse().expect("one of ours")
}

impl Host {
    pub fn new(index: usize) -> Self {
        Self {
            index,
            id: name_of(index),
            engine: None,
            epoch: 0,
            memory: 0,
            began: 0,
            began_memory: 0,
            started_over: 0,
            paused: false,
            clock: WallClock::default(),
            usual_ms: 0,
            corrected: 0,
            kept_aside: Vec::new(),
            deferred: VecDeque::new(),
            links: BTreeMap::new(),
            keeper: None,
            keeper_due: None,
            look_ups: LookUps::Work,
            attempts: BTreeMap::new(),
            was_ready: false,
            ready_at: 0,
            paused_at: 0,
            resumed_at: 0,
            donor: None,
            shown: Vec::new(),
            last_stamp: limpet_core::session::Stamp::ZERO,
        }
    }

    pub fn now(&self, at_us: u64) -> Now {
        self.clock.now(at_us, self.began)
    }

    /// Starts the process with an empty memory.
    pub fn start(&mut self, plan: &Plan, seeds: &[usize], at_us: u64) {
        self.stop();
        self.epoch += 1;
        self.memory += 1;
        self.began = at_us;
        self.began_memory = at_us;
        self.started_over = 0;
        self.corrected = 0;
        self.kept_aside.clear();
        let one_name = plan.seeds == Seeds::OneName;
        let lookup = one_name.then(|| (ALL_NODES.to_owned(), LOOK_UP_INTERVAL));
        let seeds: Vec<String> = seeds.iter().map(|seed| format!("n{seed}:4000")).collect();
        let seeds = if one_name { Vec::new() } else { seeds };
        let names = seeds
            .iter()
            .cloned()
            .chain(lookup.iter().map(|(name, _)| name.clone()));
        let names = names.collect();
        let keeper = KeeperConfig {
            seeds,
            lookup,
            streams: plan.options.links as u8,
        };
        self.keeper = Some(LinkKeeper::new(keeper, Duration::from_micros(at_us)));
        let config = EngineConfig {
            node: self.id.clone(),
            cluster: "shop".into(),
            addr: addr_of(self.index),
            swim: plan.options.swim,
            seeds: names,
            hints: false,
            clocks: ClockLimits {
                max_skew: Duration::from_secs(60),
                max_drift_warning: Duration::from_secs(10),
            },
            mode: plan.options.mode,
            donor_transfers: plan.options.donor_transfers,
            repair_interval: plan.options.repair_interval,
            links: plan.options.links,
            tombstone_life: plan.options.tombstone_life,
            rename_forward: plan.options.rename_forward,
            quorum_founders: plan.options.quorum.then_some(plan.nodes),
            queue_bytes: plan.options.queue_bytes,
            state_transfer_timeout: Some(plan.options.state_transfer_timeout),
            max_inactive: plan.options.max_inactive,
            max_active: None,
            touch_interval: plan.options.touch_interval,
            quarantine: BTreeSet::new(),
            fail_on_id: None,
            workers: vec![DeclaredWorker {
                route: format!("w{}", self.index),
                url: format!("http://10.0.0.{}:8080", self.index + 1),
                addr: format!("10.0.0.{}:8080", self.index + 1),
                weight: 1,
                healthy: true,
            }],
            seed: plan.seed ^ (self.index as u64) << 32 ^ u64::from(self.epoch),
        };
        self.engine = Some(Engine::new(config, self.now(at_us)));
    }

    /// The process is gone, and everything it remembered with it.
    pub fn stop(&mut self) {
        self.engine = None;
        self.paused = false;
        self.deferred.clear();
        self.links.clear();
        self.keeper = None;
        self.keeper_due = None;
        self.attempts.clear();
        self.was_ready = false;
        self.donor = None;
        self.last_stamp = limpet_core::session::Stamp::ZERO;
    }

    /// What it remembers, as the history calls it.
    pub fn incarnation(&self) -> Incarnation {
        (self.index, self.memory)
    }

    /// The engine, if the process runs and is not stopped.
    pub fn awake(&self) -> Option<&Engine> {
        self.engine.as_ref().filter(|_| !self.paused)
    }

    /// Whether it has the whole table and runs.
    pub fn is_ready(&self) -> bool {
        self.awake().is_some_and(|engine| engine.check_ready().is_ok())
    }
}
