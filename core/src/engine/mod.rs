//! The engine: every decision of a node, as one value without sockets, tasks, clocks or randomness.
//!
//! Callers hand in what happened and the time. What has to be done collects as [`Output`]s, which the caller takes and
//! carries out after the call.
//!
//! ```text
//! members    who is in the cluster: SWIM events, suspicion, failure detection, duplicate ids, clocks, absence
//! workers    the worker table, administrative states, keys of the token cookie
//! sessions   operations on sessions, renames, touches, expiry
//! peers      links and messages of other nodes; anti-entropy
//! transfer   the table for a joining node, from both sides
//! backup     placement, hinted handoff and fetching, where not every node holds every session
//! events, counters, selfcheck    what observers are told
//! ```
//! Locking, sockets and timers belong to [`crate::drivers`].

pub mod backup;
mod config;
mod counters;
pub mod events;
pub mod members;
mod output;
pub mod peers;
pub mod selfcheck;
pub mod sessions;
mod transfer;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limpet_wire::table::TableVersion;

use crate::base::clock::{Now, SteadyClock};
use crate::base::id::NodeId;
use crate::membership::{Dialled, Identity, Roster, Swim};
use crate::replication::acks::Acks;
use crate::replication::message::DeclaredWorker;
use crate::replication::position::{Sequence, StreamId};
use crate::replication::transfer::Transfers;
use crate::replication::write_set::WriteSet;
use crate::session::{Hlc, Stamp};
use crate::store::{Deadlines, Memory};
use backup::{fetch, handoff, handoff_pulls, placement};
use members::{absence, clocks, duplicates, failure_detector, suspicion};
use peers::peer;
use sessions::touches;
use transfer::joining::Step;

pub use config::{ClockLimits, EngineConfig, Mode, Tunables};
pub use counters::Counters;
pub use output::Output;
pub use peers::InboundLink;
pub use peers::peer::Peer;

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
    deadlines: Deadlines,
    touches: touches::Touches,
    idle: SteadyClock,
    placement: Option<placement::Placement>,
    view_stale: bool,
    handoff: handoff::Handoff,
    handoff_pulls: handoff_pulls::HandoffPulls,
    fetches: fetch::Fetches,
    swim: Swim,
    roster: Roster,
    suspicions: suspicion::Suspicions,
    failure_detector: failure_detector::FailureDetector,
    clocks: clocks::Clocks,
    duplicates: duplicates::Duplicates,
    dialled: Dialled,
    peers: BTreeMap<NodeId, Peer>,
    inbound: BTreeMap<NodeId, BTreeMap<StreamId, peer::Heard>>,
    next_listening: u64,
    /// No slot below was given to a peer that is forgotten.
    next_sequence: Sequence,
    missed_touches: touches::MissedTouches,
    absences: absence::Absences,
    /// When a node that is ready may begin to forget ends.
    forgets_from: Duration,
    refused_by_clock: bool,
    seeds_untried: BTreeSet<String>,
    acks: Acks,
    /// Where changes lie that are made together. See [`Engine::gather`].
    gathered: Option<WriteSet>,
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
            deadlines: Deadlines::default(),
            touches: touches::Touches::default(),
            idle: SteadyClock::start(now),
            placement: match config.mode {
                Mode::Delta => None,
                Mode::Backup { .. } => Some(placement::Placement::new(now)),
            },
            view_stale: true,
            handoff: handoff::Handoff::default(),
            handoff_pulls: handoff_pulls::HandoffPulls::default(),
            fetches: fetch::Fetches::default(),
            swim: Swim::new(identity, config.swim, config.seed),
            roster: Roster::default(),
            suspicions: suspicion::Suspicions::default(),
            failure_detector: failure_detector::FailureDetector::default(),
            clocks: clocks::Clocks::default(),
            duplicates: duplicates::Duplicates::default(),
            dialled: Dialled::default(),
            peers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            next_listening: 0,
            next_sequence: Sequence::ZERO,
            missed_touches: touches::MissedTouches::default(),
            absences: absence::Absences::new(now.wall_ms),
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
        self.note_pause(now);
        self.idle.advance(now);
        self.check_silence(now);
        self.progress_suspicions(now);
        self.progress_duplicates(now);
        self.send_clock_requests(now);
        self.greet_lost(now);
        self.flush_touches(now);
        self.progress_missed_touches(now);
        self.expire_due(now);
        self.progress_join(now);
        self.follow_view(now);
        self.refresh_placement();
        self.send_tombstones(now);
        self.progress_handoff(now);
        self.progress_handoff_pulls(now);
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
        if let Some(problem) = self.duplicate_problem() {
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
        self.table.alive() - usize::from(self.has_keys()) - usize::from(self.has_admin_states())
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
