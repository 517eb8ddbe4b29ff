//! The plan: everything that one seed draws before anything runs. The cluster, its options, network, faults and clients.

use std::time::Duration;

use limpet_core::engine::Mode;
use limpet_core::membership::SwimConfig;
use limpet_wire::report::IdleLimit;

use crate::draw::Draw;

/// Everything drawn.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it all comes from.
    pub seed: u64,
    /// How many nodes there are in all.
    pub nodes: usize,
    /// How long anything may fail.
    pub safety: Duration,
    /// How far clocks are off.
    pub clocks: Clocks,
    /// Options of every node.
    pub options: Options,
    /// The network when nothing is wrong with it.
    pub weather: Weather,
    /// What goes wrong.
    pub faults: Faults,
    /// Who uses it.
    pub load: Load,
    /// Whom nodes are told of.
    pub seeds: Seeds,
    /// In which order the nodes start.
    pub order: Order,
}

/// Whom nodes are told of. Names, so that look-ups can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeds {
    /// Every other node, each by a name of its own.
    All,
    /// One name whose addresses are all nodes.
    OneName,
    /// The first two nodes.
    FirstTwo,
}

/// In which order the nodes start for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first one, and the others within 3 s.
    FirstFirst,
    /// All at once.
    AtOnce,
    /// Within 3 s, in any order.
    Any,
}

impl Plan {
    /// Whether ends, and where sessions went, are forgotten while anything may fail.
    pub fn forgets(&self) -> bool {
        self.options.tombstone_life <= self.safety
    }

    /// Whether every node holds every session.
    pub fn everywhere(&self) -> bool {
        self.options.mode == Mode::Delta
    }

    /// In `backup` mode, how many nodes hold a session, where nothing goes wrong but that nodes come and go: then whoever
    /// is asked knows what all holders have acknowledged.
    pub fn holders_of_a_calm_run(&self) -> Option<usize> {
        let comes_and_goes =
            |kind: &Fault| matches!(kind, Fault::Crash | Fault::PowerOff | Fault::Leave | Fault::Burst);
        let calm = !self.clocks.beyond && self.faults.kinds.iter().all(comes_and_goes);
        match self.options.mode {
            Mode::Backup { copies } if calm => Some(copies + 1),
            _ => None,
        }
    }
}

/// What kind of cluster is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `delta` mode, and tombstones live for a day.
    Delta,
    /// `backup` mode.
    Backup,
    /// `delta` mode, and tombstones live for seconds.
    Forgetful,
}

impl Kind {
    /// The kind that the environment asks for.
    pub fn asked_for() -> Self {
        match std::env::var(MODE).as_deref() {
            Err(_) | Ok("" | "delta") => Self::Delta,
            Ok("backup") => Self::Backup,
            Ok("forgetful") => Self::Forgetful,
            Ok(other) => panic!("{MODE}: delta, backup or forgetful are expected, not {other:?}"),
        }
    }

    /// The setting that asks for it, before `make`.
    pub fn setting(self) -> String {
        match self {
            Self::Delta => String::new(),
            Self::Backup => format!("{MODE}=backup "),
            Self::Forgetful => format!("{MODE}=forgetful "),
        }
    }
}

const MODE: &str = "LIMPET_SIM_MODE";

/// How far clocks are off.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Every clock stays within this of the true time.
    pub skew_ms: u64,
    /// Whether they jump while the nodes run.
    pub jump: bool,
    /// Whether one of them is further off than other nodes believe.
    pub beyond: bool,
    /// The mean time between two clocks that are set, by up to ten hours; none are where this is nothing.
    pub steps: Option<Duration>,
    /// Whether a node begins alone, cut from the others, with a clock that is far off.
    pub apart: bool,
}

impl Clocks {
    /// Whether any clock is ever further off than other nodes believe.
    pub fn are_near(&self) -> bool {
        !self.beyond && self.steps.is_none()
    }

    /// By how much any two nodes' times may differ while both are believed.
    pub fn apart_ms(&self) -> u64 {
        if self.are_near() { 2 * self.skew_ms } else { 60_000 }
    }
}

/// Options of every node.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub swim: SwimConfig,
    pub links: usize,
    pub mode: Mode,
    pub donor_transfers: usize,
    pub repair_interval: Duration,
    pub queue_bytes: usize,
    /// Whether conditional changes are decided by majority.
    pub quorum: bool,
    pub tombstone_life: Duration,
    pub rename_forward: Duration,
    pub state_transfer_timeout: Duration,
    pub max_inactive: IdleLimit,
    pub touch_interval: Duration,
    /// Whether a node that leaves ends its sessions.
    pub end_on_leave: bool,
}

/// The network when nothing is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub delay_us: u64,
    pub jitter_us: u64,
    /// Of a message to need sending again by the kernel.
    pub loss: f64,
    /// Of a membership message to be lost, and to come twice, and to come after the next.
    pub gossip_loss: f64,
    pub gossip_twice: f64,
    pub gossip_late: f64,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub struct Faults {
    /// The mean time between two.
    pub every: Duration,
    /// The kinds that happen in this run, each as often as it is listed.
    pub kinds: Vec<Fault>,
    /// Whether the last node that has the sessions may lose them too.
    pub to_the_last: bool,
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Split,
    OneWay,
    DialOneWay,
    Bridge,
    Swizzle,
    Flap,
    Slow,
    Far,
    Reset,
    Crash,
    PowerOff,
    Pause,
    Leave,
    Jump,
    Strobe,
    Burst,
    /// A node restarts whose packets to some others vanish.
    Unheard,
    /// A node restarts while another one's process stands still.
    SilentSeed,
    /// A node's look-ups fail, or take long.
    LookUps,
}

const KINDS: [Fault; 19] = [
    Fault::Split,
    Fault::OneWay,
    Fault::DialOneWay,
    Fault::Bridge,
    Fault::Swizzle,
    Fault::Flap,
    Fault::Slow,
    Fault::Far,
    Fault::Reset,
    Fault::Crash,
    Fault::PowerOff,
    Fault::Pause,
    Fault::Leave,
    Fault::Jump,
    Fault::Strobe,
    Fault::Burst,
    Fault::Unheard,
    Fault::SilentSeed,
    Fault::LookUps,
];

/// Who uses it.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: usize,
    pub sessions: usize,
    /// The mean time between two requests of a client.
    pub think: Duration,
    /// Of a client to go elsewhere without need.
    pub wander: f64,
    pub value_max: usize,
}

impl Plan {
    /// What `seed` draws for a cluster of this kind.
    pub fn of(seed: u64, kind: Kind) -> Self {
        let mut draw = Draw::of(seed, "plan");
        let draw = &mut draw;
        // Small clusters are quick and already have every pair of roles; large ones have the odd shapes.
        let nodes = if draw.chance(0.6) {
            draw.between(2, 5)
        } else {
            draw.between(2, 9)
        } as usize;
        let beyond = draw.chance(0.08);
        // Of their own stream, so that all else of a seed stays as it was before clocks were set.
        let mut steps = Draw::of(seed, "clock steps");
        let sets = steps.chance(0.5);
        let clocks = Clocks {
            skew_ms: draw.pick(&[0, 0, 50, 2_000, 10_000, 29_000]),
            jump: draw.chance(0.4),
            beyond,
            steps: sets.then(|| steps.time(500, 8_000)),
            apart: sets && steps.chance(0.3),
        };
        let mut kinds: Vec<Fault> = KINDS.iter().copied().filter(|_| draw.chance(0.55)).collect();
        let forgetful = clocks.skew_ms <= 50 && !beyond && draw.chance(0.4);
        if !clocks.jump {
            kinds.retain(|kind| !matches!(kind, Fault::Jump | Fault::Strobe));
        }
        if kind == Kind::Backup && Draw::of(seed, "calm").chance(0.3) {
            kinds = vec![Fault::Crash, Fault::PowerOff, Fault::Leave, Fault::Burst];
        }
        if kinds.is_empty() {
            kinds.push(Fault::Split);
        }
        Self {
            seed,
            nodes,
            safety: draw.time(20_000, 45_000),
            clocks,
            options: Options {
                swim: SwimConfig {
                    probe_interval: draw.pick(&[Duration::from_millis(300), Duration::from_millis(500)]),
                    drop_time: draw.pick(&[Duration::from_millis(1500), Duration::from_secs(3)]),
                },
                links: draw.pick(&[1, 2, 2, 3, 5]),
                mode: if kind == Kind::Backup {
                    Mode::Backup {
                        copies: draw.between(1, 3) as usize,
                    }
                } else {
                    Mode::Delta
                },
                donor_transfers: draw.pick(&[1, 2, 4]),
                repair_interval: draw.pick(&[Duration::from_secs(2), Duration::from_secs(5)]),
                tombstone_life: forgetful
                    .then(|| draw.time(6_000, 14_000))
                    .filter(|_| kind == Kind::Forgetful)
                    .unwrap_or(Duration::from_secs(24 * 3600)),
                rename_forward: draw.pick(&[Duration::from_secs(1), Duration::from_secs(30)]),
                // Of its own stream, so that all else of a seed stays as it was.
                quorum: Draw::of(seed, "quorum").chance(0.4),
                queue_bytes: draw.pick(&[3_000, 20_000, 200_000, 1 << 26]),
                state_transfer_timeout: draw.pick(&[Duration::from_secs(10), Duration::from_secs(20)]),
                max_inactive: draw.pick(&[
                    IdleLimit::Millis(4_000),
                    IdleLimit::Millis(15_000),
                    IdleLimit::Millis(1_800_000),
                    IdleLimit::Forever,
                ]),
                touch_interval: draw.pick(&[
                    Duration::from_millis(500),
                    Duration::from_secs(5),
                    Duration::from_secs(60),
                ]),
                end_on_leave: draw.chance(0.1),
            },
            weather: Weather {
                delay_us: draw.pick(&[100, 1_000, 10_000, 60_000]),
                jitter_us: draw.pick(&[50, 2_000, 30_000]),
                loss: draw.pick(&[0.0, 0.0, 0.02, 0.1]),
                gossip_loss: draw.pick(&[0.0, 0.05, 0.3]),
                gossip_twice: draw.pick(&[0.0, 0.05, 0.3]),
                gossip_late: draw.pick(&[0.0, 0.1]),
            },
            faults: Faults {
                every: draw.time(800, 6_000),
                kinds,
                to_the_last: draw.chance(0.1),
            },
            load: Load {
                clients: draw.between(2, 12) as usize,
                sessions: draw.between(3, 40) as usize,
                think: draw.time(30, 600),
                wander: draw.pick(&[0.0, 0.02, 0.2]),
                value_max: draw.pick(&[20, 200, 2_000]),
            },
            seeds: draw.pick(&[Seeds::All, Seeds::OneName, Seeds::FirstTwo]),
            order: draw.pick(&[Order::FirstFirst, Order::AtOnce, Order::Any]),
        }
    }
}
