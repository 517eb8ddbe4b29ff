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
//! store      the seams for a store behind the table
//! backup     placement, hinted handoff and fetching, where not every node holds every session
//! conditional   changes that one node decides about
//! membership, begin_again, restamp   what membership decides takes effect on everything else
//! changed    what derived state is out of date, and the one place that makes it anew
//! ids        numbers that are given once
//! events, counters, selfcheck    what observers are told
//! ```
//! Locking, sockets and timers belong to [`crate::drivers`].

pub mod backup;
mod begin_again;
mod changed;
pub mod conditional;
mod config;
mod counters;
pub mod events;
mod ids;
pub mod members;
mod membership;
mod output;
pub mod peers;
mod restamp;
pub mod selfcheck;
pub mod sessions;
mod store;
mod transfer;
pub mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::replication::acks::Acks;
use crate::replication::position::StreamId;
use crate::replication::transfer::Transfers;
use crate::replication::write_set::WriteSet;
use crate::session::{Hlc, Shift};
use crate::store::{Feed, Memory};
use changed::Changed;
use ids::Ids;
use members::{Members, MembersConfig};
use peers::{peer, repair};
use sessions::{expiry, identity, touches};
use transfer::inquiry::{self, Inquiry};
use transfer::joining::{self, Step};
use workers::Workers;

pub use config::{ClockLimits, EngineConfig, Mode, Tunables};
pub use counters::Counters;
pub use inquiry::Answer;
pub use output::{Discarded, Output};
pub use peers::InboundLink;
pub use peers::peer::Peer;
pub use transfer::without_table::Start;

/// How far this node is on its way into the cluster and out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It does not have the whole table yet.
    Joining {
        /// When the last part of it came, or the node began to wait for the first.
        since: Duration,
    },
    /// It has the whole table.
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
    expiry: expiry::Expiry,
    feed: Feed,
    touches: touches::Touches,
    heard: identity::Heard,
    backup: backup::Backup,
    conditional: conditional::Conditional,
    members: Members,
    peers: BTreeMap<NodeId, Peer>,
    inbound: BTreeMap<NodeId, BTreeMap<StreamId, peer::Inbound>>,
    ids: Ids,
    intake: peers::intake::Intake,
    acks: Acks,
    /// The write set of the changes that [`Engine::gather`] is combining.
    gathered: Option<WriteSet>,
    joining: joining::Joining,
    /// What is to be stamped anew, because this node's time was wrong.
    restamp: Option<Box<restamp::Restamp>>,
    last_shift: Option<Box<Shift>>,
    transfers: Transfers,
    /// The nodes that pull from this one, and when each last asked.
    serving: BTreeMap<NodeId, Duration>,
    repair: repair::Schedule,
    workers: Workers,
    /// What derived state is out of date by now.
    changed: Changed,
    counters: Counters,
    events: events::Events,
    /// Whether the last tick left work that needs no more time to pass. See [`Engine::tick`].
    more_work: bool,
    outputs: Vec<Output>,
}

impl Engine {
    /// A node that has just started.
    #[must_use]
    pub fn new(config: EngineConfig, now: Now) -> Self {
        let members = Members::new(MembersConfig::from(&config), now);
        let mut engine = Self::begin(config, members, now);
        engine.settle(now);
        engine
    }

    /// Like [`Self::new`], without the derived state.
    fn begin(config: EngineConfig, members: Members, now: Now) -> Self {
        let skew_max_ms = u64::try_from(config.clocks.max_skew.as_millis()).unwrap_or(u64::MAX);
        Self {
            phase: Phase::Joining { since: now.mono },
            hlc: Hlc::new(config.node.tag(), skew_max_ms),
            table: Memory::default(),
            expiry: expiry::Expiry::default(),
            feed: Feed::default(),
            touches: touches::Touches::default(),
            heard: identity::Heard::default(),
            backup: backup::Backup::new(config.mode, now),
            conditional: conditional::Conditional::new(&config, now),
            members,
            peers: BTreeMap::new(),
            inbound: BTreeMap::new(),
            ids: Ids::new(config.seed),
            intake: peers::intake::Intake::new(&config),
            acks: Acks::default(),
            gathered: None,
            joining: joining::Joining::new(
                Inquiry::new(config.seeds.clone(), config.hints, now.mono),
                now.mono,
            ),
            restamp: None,
            last_shift: None,
            transfers: Transfers::new(config.seed | 1),
            serving: BTreeMap::new(),
            repair: repair::Schedule::new(now.mono),
            workers: Workers::new(config.node.clone(), config.workers.clone(), now.wall_ms),
            changed: Changed::ALL,
            counters: Counters::default(),
            events: events::Events::default(),
            more_work: false,
            outputs: Vec::new(),
            config,
        }
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

    /// Takes the outputs collected since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Time passes: whatever was waiting for it. To be called about every 50 ms.
    ///
    /// One call does a bounded amount of work, however large the table is. `true` says that more of it can be done now:
    /// call again, after others had their turn.
    pub fn tick(&mut self, now: Now) -> bool {
        self.more_work = false;
        for (waiter, copies) in self.acks.expired(now.mono) {
            self.outputs.push(Output::Copies(waiter, copies));
        }
        self.members.tick(now);
        self.drain_members(now);
        self.correct_time(now);
        self.forget_workers(now);
        self.changed.note(Changed::JOINING);
        self.settle(now);
        self.flush_touches(now);
        self.heard.forget(self.config.rename_forward, now);
        self.progress_missed_touches(now);
        self.expire_due(now);
        self.refresh_placement();
        self.send_tombstones(now);
        self.progress_handoff(now);
        self.progress_handoff_pulls(now);
        self.progress_unproven(now);
        self.progress_fetches(now);
        self.progress_quorum(now);
        self.progress_proposals(now);
        self.progress_repair(now);
        self.rotate_keys(now);
        self.stamp_anew(now);
        self.more_work
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
            return self.time_problem();
        }
        if self.phase == Phase::Leaving {
            return Some("leaving the cluster".into());
        }
        if let Some(problem) = self.duplicate_problem() {
            return Some(problem);
        }
        Some(match &self.joining.step {
            Step::Checking(_) if self.transfers.is_complete() => self.missing_sentence(),
            Step::Fetching | Step::Checking(_) => {
                let donors: Vec<_> = self.transfers.donors().into_iter().map(NodeId::as_str).collect();
                let received = self.transfers.received();
                format!("receiving sessions from {}: {received} so far", donors.join(", "))
            }
            Step::Waiting if self.joining.refused_by_clock => {
                "sessions were refused because their stamps are far ahead of this node's clock; set the clock"
                    .into()
            }
            Step::Waiting => self.joining.waits_for(),
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
        self.table.alive() - self.reserved_records()
    }

    /// The peers something is sent to.
    #[must_use]
    pub const fn peers(&self) -> &BTreeMap<NodeId, Peer> {
        &self.peers
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

    /// This node is in another phase from now on.
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.changed.note(Changed::PHASE);
    }

    /// This node leaves: it says so to every peer, and is not ready from now on.
    pub fn leave(&mut self, now: Now) {
        self.enter(Phase::Leaving);
        self.announce();
        self.members.leave(now);
        self.drain_members(now);
        self.settle(now);
    }

    /// Whether everything that was to be said to linked peers has been handed to their links, and a node that leaves has
    /// handed off what no other node has.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let mut peers = self.peers.values();
        peers.all(|peer| !peer.is_linked() || !peer.has_waiting())
            && (!self.is_leaving() || (self.has_handed_off() && !self.is_still_counted()))
    }
}

#[cfg(test)]
mod tests;
