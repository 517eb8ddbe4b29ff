//! The engine: everything a node decides, as one value without sockets, tasks or clocks.
//!
//! Callers hand in what happened and the time; what there is to do collects in [`Output`]s, which the caller takes
//! and carries out after the call.
//!
//! ```text
//! sessions, rename               what callers do with sessions
//! uses, expiry                   how others hear of their use, and how they end
//! peer, peers, repair            messages to and from other nodes; tables compared and mended
//! joining, donating              the table for a node that has none, from both sides
//! placement, handover, taking, fetch    which node holds what, in backup mode; what is elsewhere
//! members, doubts, silence, names, hints, contact    who is there, is it really gone, whose name is it,
//!                                whom to dial, and is it to be believed
//! clocks                         whose clock is wrong
//! workers, directives, keys      what filters see: workers, what operators said of them, keys of tokens
//! events, counters, selfcheck    what is told to whoever looks
//! ```

mod clocks;
mod contact;
mod counters;
pub mod directives;
mod donating;
mod doubts;
pub mod events;
pub mod expiry;
pub mod fetch;
mod handover;
mod hints;
mod joining;
pub mod keys;
pub mod members;
mod names;
mod peer;
pub mod peers;
mod placement;
mod rename;
pub mod repair;
pub mod selfcheck;
pub mod sessions;
mod silence;
mod taking;
mod uses;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use limpet_wire::report::IdleLimit;
use limpet_wire::table::TableVersion;

use crate::base::clock::{Now, SteadyClock};
use crate::base::id::NodeId;
use crate::membership::{Dialled, Identity, Roster, Swim, SwimConfig, Timer};
use crate::replication::acks::{Acks, Waiter};
use crate::replication::lanes::Lane;
use crate::replication::message::DeclaredWorker;
use crate::replication::outbox::Slot;
use crate::replication::slots::Slots;
use crate::replication::transfer::Transfers;
use crate::session::{Hlc, Stamp};
use crate::store::{Deadlines, Memory};

pub use counters::Counters;
use joining::Step;
pub use peer::Peer;
pub use peers::Listening;

/// Which nodes hold a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every node of the domain.
    Delta,
    /// The node of the worker it is bound to, and some others.
    Backup {
        /// How many others.
        copies: usize,
    },
}

/// What the engine needs of the configuration.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// How fast a silent member is found.
    pub swim: SwimConfig,
    /// Seeds as written; each has to be tried before a node alone calls itself the first.
    pub seeds: BTreeSet<String>,
    /// How many links are made to each peer.
    pub links: usize,
    /// Which nodes hold a session.
    pub mode: Mode,
    /// Bytes of changes kept for one peer.
    pub queue_bytes: usize,
    /// How many nodes are sent parts of the table at a time.
    pub donor_transfers: usize,
    /// How often tables are compared.
    pub repair_interval: Duration,
    /// How long to wait for somebody who has the table before starting without it.
    pub state_transfer_timeout: Duration,
    /// The idle lifetime of sessions that are given none.
    pub max_inactive: IdleLimit,
    /// The most sessions; `None` for no limit.
    pub max_active: Option<usize>,
    /// How often at most a session's use is told to other nodes.
    pub touch_interval: Duration,
    /// How long the end of a session is remembered.
    pub tombstone_life: Duration,
    /// How long the old id of a renamed session still finds it.
    pub rename_forward: Duration,
    /// What is believed of other nodes' clocks.
    pub clocks: ClockLimits,
    /// This node's workers.
    pub workers: Vec<DeclaredWorker>,
    /// Seeds the choices of membership.
    pub seed: u64,
}

/// What is believed of other nodes' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockLimits {
    /// How far ahead of this node's clock a stamp may be; further is refused and counted.
    pub max_skew: Duration,
    /// How far a member's clock may be from this one's before that is said in the log.
    pub max_drift_warning: Duration,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self {
            max_skew: Duration::from_secs(60),
            max_drift_warning: Duration::from_secs(1),
        }
    }
}

/// The part of the configuration that may change while the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunables {
    /// How long to wait for somebody who has the table before starting without it.
    pub state_transfer_timeout: Duration,
    /// The idle lifetime of sessions that are given none and begin from now on.
    pub max_inactive: IdleLimit,
    /// The most sessions; `None` for no limit. Those there are stay.
    pub max_active: Option<usize>,
    /// How often at most a session's use is told to other nodes.
    pub touch_interval: Duration,
    /// How long the old id of a renamed session still finds it.
    pub rename_forward: Duration,
}

/// What there is to do.
#[derive(Debug)]
pub enum Output {
    /// Keep a link to this address.
    Dial(SocketAddr),
    /// Messages wait for this peer's link of the lane, or changes that somebody waits for.
    Wake(NodeId, Lane),
    /// Changes wait for this peer's link of the lane; a moment later will do.
    Changes(NodeId, Lane),
    /// End the link of the lane to this peer.
    Close(NodeId, Lane),
    /// Hand the timer back after the time.
    Timer(Duration, Timer),
    /// A caller's wait is over, with this many copies.
    Copies(Waiter, usize),
    /// The worker table has a new version.
    Table(TableVersion),
    /// A fetch is over; whether everybody who was asked has answered.
    Fetched(fetch::FetchId, bool),
}

/// How far this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It does not have the whole table yet.
    Joining {
        /// Since when nothing of it has come.
        since: Duration,
    },
    /// It has.
    Ready,
    /// It is about to stop.
    Leaving,
}

/// See the module page.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    phase: Phase,
    hlc: Hlc,
    table: Memory,
    ends: Deadlines,
    touches: uses::Touches,
    idle: SteadyClock,
    placement: Option<placement::Placement>,
    view_stale: bool,
    handover: handover::Handover,
    takings: taking::Takings,
    fetches: fetch::Fetches,
    swim: Swim,
    roster: Roster,
    doubts: doubts::Doubts,
    silence: silence::Silence,
    clocks: clocks::Clocks,
    names: names::Names,
    dialled: Dialled,
    peers: BTreeMap<NodeId, Peer>,
    heard: BTreeMap<NodeId, BTreeMap<Lane, peer::Heard>>,
    next_listening: u64,
    /// No slot below was given to a peer that is forgotten.
    next_slots: Slot,
    missed_uses: uses::MissedUses,
    contacts: contact::Contacts,
    /// When a node that is ready may begin to forget ends.
    forgets_from: Duration,
    refused_by_clock: bool,
    seeds_untried: BTreeSet<String>,
    acks: Acks,
    /// Where changes lie that are made together. See [`Engine::gather`].
    gathered: Option<Slots>,
    joining: Step,
    transfers: Transfers,
    /// Who pulls from this node, and since when each was last heard to.
    serving: BTreeMap<NodeId, Duration>,
    /// The peer tables were last compared with in turn.
    compared_last: Option<NodeId>,
    /// Numbers questions to peers.
    next_request: u64,
    /// Whom the whole table was asked of, where each has another part of it.
    joined_from: BTreeSet<NodeId>,
    next_announce: Duration,
    next_repair: Duration,
    /// How many more rounds of comparing follow each other soon.
    rounds_soon: usize,
    next_join: Duration,
    next_greeting: Duration,
    workers: Vec<DeclaredWorker>,
    announced: BTreeMap<NodeId, Vec<DeclaredWorker>>,
    table_version: TableVersion,
    last_routes: Vec<limpet_wire::table::Worker>,
    shown_keys: Stamp,
    counters: Counters,
    events: events::Events,
    outputs: Vec<Output>,
}

impl Engine {
    /// A node that has just started.
    #[must_use]
    pub fn new(config: EngineConfig, now: Now) -> Self {
        let identity = Identity {
            node: config.node.as_str().into(),
            addr: config.addr,
            incarnation: now.wall_ms,
        };
        let skew_max_ms = u64::try_from(config.clocks.max_skew.as_millis()).unwrap_or(u64::MAX);
        let mut engine = Self {
            phase: Phase::Joining { since: now.mono },
            hlc: Hlc::new(config.node.tag(), skew_max_ms),
            table: Memory::default(),
            ends: Deadlines::default(),
            touches: uses::Touches::default(),
            idle: SteadyClock::start(now),
            placement: match config.mode {
                Mode::Delta => None,
                Mode::Backup { .. } => Some(placement::Placement::new(now)),
            },
            view_stale: true,
            handover: handover::Handover::default(),
            takings: taking::Takings::default(),
            fetches: fetch::Fetches::default(),
            swim: Swim::new(identity, config.swim, config.seed),
            roster: Roster::default(),
            doubts: doubts::Doubts::default(),
            silence: silence::Silence::default(),
            clocks: clocks::Clocks::default(),
            names: names::Names::default(),
            dialled: Dialled::default(),
            peers: BTreeMap::new(),
            heard: BTreeMap::new(),
            next_listening: 0,
            next_slots: 0,
            missed_uses: uses::MissedUses::default(),
            contacts: contact::Contacts::new(now.wall_ms),
            forgets_from: Duration::MAX,
            refused_by_clock: false,
            seeds_untried: config.seeds.clone(),
            acks: Acks::default(),
            gathered: None,
            joining: Step::Waiting,
            transfers: Transfers::new(config.seed | 1),
            serving: BTreeMap::new(),
            compared_last: None,
            next_request: config.seed | 1,
            joined_from: BTreeSet::new(),
            next_announce: now.mono,
            next_repair: now.mono,
            rounds_soon: 0,
            next_join: now.mono,
            next_greeting: now.mono,
            workers: config.workers.clone(),
            announced: BTreeMap::new(),
            table_version: TableVersion {
                epoch: now.wall_ms,
                number: 1,
            },
            last_routes: Vec::new(),
            shown_keys: Stamp::ZERO,
            counters: Counters::default(),
            events: events::Events::default(),
            outputs: Vec::new(),
            config,
        };
        engine.refresh_table();
        engine.progress_join(now);
        engine
    }

    /// Goes on with another configuration.
    pub const fn tune(&mut self, tunables: Tunables) {
        let Tunables {
            state_transfer_timeout,
            max_inactive,
            max_active,
            touch_interval,
            rename_forward,
        } = tunables;
        self.config.state_transfer_timeout = state_transfer_timeout;
        self.config.max_inactive = max_inactive;
        self.config.max_active = max_active;
        self.config.touch_interval = touch_interval;
        self.config.rename_forward = rename_forward;
    }

    /// What there is to do since this was last asked.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Time passes: whatever was waiting for it. To be called about every 50 ms.
    pub fn tick(&mut self, now: Now) {
        for (waiter, copies) in self.acks.expired(now.mono) {
            self.outputs.push(Output::Copies(waiter, copies));
        }
        self.note_standstill(now);
        self.idle.advance(now);
        self.watch_silence(now);
        self.progress_doubts(now);
        self.progress_names(now);
        self.ask_times(now);
        self.greet_lost(now);
        self.flush_touches(now);
        self.progress_missed_uses(now);
        self.end_due(now);
        self.progress_join(now);
        self.follow_view(now);
        self.refresh_placement();
        self.tell_ends(now);
        self.progress_handover(now);
        self.progress_takings(now);
        self.progress_fetches(now);
        self.progress_repair(now);
        self.rotate_keys(now);
    }

    /// How far this node is.
    #[must_use]
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Why the node is not ready, in a sentence; `None` when it is.
    #[must_use]
    pub fn not_ready_reason(&self) -> Option<String> {
        if self.phase == Phase::Ready {
            return None;
        }
        if self.phase == Phase::Leaving {
            return Some("leaving the cluster".into());
        }
        if let Some(problem) = self.name_problem() {
            return Some(problem);
        }
        Some(match &self.joining {
            Step::Checking(_) if self.transfers.is_complete() => "comparing tables with the members".into(),
            Step::Fetching | Step::Checking(_) => {
                let donors: Vec<_> = self.transfers.donors().into_iter().map(NodeId::as_str).collect();
                let received = self.transfers.received();
                format!("receiving sessions from {}: {received} so far", donors.join(", "))
            }
            Step::Waiting if self.refused_by_clock => {
                "sessions were refused because their stamps are far ahead of this node's clock; set the clock"
                    .into()
            }
            Step::Waiting if !self.seeds_untried.is_empty() => {
                format!("waiting for {} of the seeds to answer", self.seeds_untried.len())
            }
            Step::Waiting => "waiting for a member that has the sessions".into(),
        })
    }

    /// The session table.
    #[must_use]
    pub const fn table(&self) -> &Memory {
        &self.table
    }

    /// How many sessions there are, the cluster's own not counted.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.alive() - usize::from(self.has_keys()) - usize::from(self.has_directives())
    }

    /// The other members.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The peers something is sent to.
    #[must_use]
    pub const fn peers(&self) -> &BTreeMap<NodeId, Peer> {
        &self.peers
    }

    /// This node's present identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.swim.identity()
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> &NodeId {
        &self.config.node
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What it counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many callers wait for copies.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.acks.len()
    }

    /// This node leaves: it says so to every peer, and is not ready from now on.
    pub fn leave(&mut self, now: Now) {
        self.phase = Phase::Leaving;
        self.announce();
        let todo = self.swim.leave();
        self.carry_out(todo, now);
        self.refresh_table();
    }

    /// Whether everything that was to be said to linked peers has been handed to their links.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.peers
            .values()
            .all(|peer| !peer.is_linked() || !peer.has_waiting())
    }
}

#[cfg(test)]
mod tests;
