//! The membership of this node: who else is in the cluster, who of them has failed, and whose sessions are trusted.
//!
//! [`Members`] is a value of its own. Calls hand in what happened and the time; what has to be done or known elsewhere
//! collects as [`MembersOutput`]s, which the caller takes after the call.
//!
//! ```text
//! swim_events       events of SWIM, later incarnations of this node, greetings
//! links             links that come and go, silence, probes
//! suspicion         members that refuse connections or send nothing: other members are asked
//! failure_detector  finds linked members that send nothing
//! duplicates        two processes with one node id
//! clocks            whose clock is wrong, the time that stamps changes and counts idle sessions
//! absence           nodes that were away for longer than tombstones live
//! announcements     what nodes announce of themselves
//! hints             addresses learned by multicast
//! ```
//! The SWIM protocol itself and the roster are [`crate::membership`]'s. Links, sessions and workers belong to the
//! engine, which reacts to the outputs.

mod absence;
mod announcements;
mod clocks;
mod duplicates;
mod failure_detector;
mod hints;
mod links;
mod output;
mod suspicion;
mod swim_events;

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::{FORGET_GONE_AFTER, REDIAL_DOWN_FOR};
use crate::engine::{ClockLimits, EngineConfig};
use crate::membership::{Dialled, Identity, MemberMessage, Roster, RosterFull, Swim, SwimConfig};

pub use absence::OwnStatus;
pub use announcements::Announced;
pub use clocks::Correction;
pub(in crate::engine) use clocks::TIMES_APART_MS;
pub use output::MembersOutput;

/// How often linked nodes that are no members are greeted, members that are not ready are asked to announce
/// themselves, and the roster is looked through for members to forget.
const GREETING_INTERVAL: Duration = Duration::from_secs(1);

/// What membership needs of the configuration.
#[derive(Debug, Clone)]
pub struct MembersConfig {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// How fast failed members are found.
    pub swim: SwimConfig,
    /// What is believed of other nodes' clocks.
    pub clocks: ClockLimits,
    /// How long tombstones are kept.
    pub tombstone_life: Duration,
    /// How often tables are compared.
    pub repair_interval: Duration,
    /// Seeds the choices of SWIM.
    pub seed: u64,
}

impl From<&EngineConfig> for MembersConfig {
    fn from(config: &EngineConfig) -> Self {
        Self {
            node: config.node.clone(),
            cluster: config.cluster.clone(),
            addr: config.addr,
            swim: config.swim,
            clocks: config.clocks,
            tombstone_life: config.tombstone_life,
            repair_interval: config.repair_interval,
            seed: config.seed,
        }
    }
}

/// See the module page.
#[derive(Debug)]
pub struct Members {
    config: MembersConfig,
    swim: Swim,
    roster: Roster,
    suspicions: suspicion::Suspicions,
    failure_detector: failure_detector::FailureDetector,
    clocks: clocks::Clocks,
    duplicates: duplicates::Duplicates,
    absences: absence::Absences,
    /// Addresses dialled because of hints.
    dialled: Dialled,
    next_greeting: Duration,
    /// Whether this node leaves the cluster.
    leaving: bool,
    outputs: Vec<MembersOutput>,
}

impl Members {
    /// A node that starts now and knows of nobody.
    #[must_use]
    pub fn new(config: MembersConfig, now: Now) -> Self {
        let limits = absence::AbsenceLimits {
            tombstone_life: config.tombstone_life,
            max_skew: config.clocks.max_skew,
            catch_up: 2 * config.repair_interval,
        };
        let absences = absence::Absences::new(config.node.clone(), limits, now.wall_ms);
        let scale = config.node.tag() ^ config.seed.rotate_left(32) ^ now.wall_ms;
        let clocks = clocks::Clocks::new(config.clocks, scale, now);
        Self::with(config, absences, clocks, now)
    }

    fn with(config: MembersConfig, absences: absence::Absences, clocks: clocks::Clocks, now: Now) -> Self {
        let identity = Identity {
            node: config.node.as_str().into(),
            addr: config.addr,
            incarnation: now.wall_ms,
        };
        Self {
            swim: Swim::new(identity, config.swim, config.seed),
            roster: Roster::default(),
            suspicions: suspicion::Suspicions::default(),
            failure_detector: failure_detector::FailureDetector::new(config.swim.drop_time),
            clocks,
            duplicates: duplicates::Duplicates::default(),
            absences,
            dialled: Dialled::default(),
            next_greeting: now.mono,
            leaving: false,
            outputs: Vec::new(),
            config,
        }
    }

    /// The same node under a later incarnation, which knows of nobody and is about to get the sessions anew. Of what
    /// it was, this survives: the configuration, the outputs not taken yet, the time, and that memories and incarnations
    /// only go forward. The addresses of active members are dialled again. `joining` says whether it had not even become ready.
    #[must_use]
    pub fn begin_again(&mut self, joining: bool, now: Now) -> Self {
        let absences = self.absences.begin_again(self.clocks.time_ms(now), joining);
        let mut again = Self::with(self.config.clone(), absences, self.clocks.begin_again(now), now);
        again.outputs = self.take_outputs();
        let active = self.roster.active();
        let dials = active.map(|(_, member)| MembersOutput::Dial(member.identity.addr));
        again.outputs.extend(dials);
        again.outpace(self.swim.identity().incarnation, now);
        again
    }

    /// What there is to do since this was last asked, in the order in which it takes effect.
    pub fn take_outputs(&mut self) -> Vec<MembersOutput> {
        std::mem::take(&mut self.outputs)
    }

    /// Time passes. To be called about every 50 ms.
    pub fn tick(&mut self, now: Now) {
        self.note_time(now);
        self.advance_clocks(now);
        self.check_silence(now);
        self.progress_suspicions(now);
        self.duplicates.expire(now.mono);
        self.send_clock_requests(now);
        if now.mono >= self.next_greeting {
            self.next_greeting = now.mono + GREETING_INTERVAL;
            self.forget_gone(now);
            self.greet(now);
        }
    }

    /// This node leaves: SWIM tells the others.
    pub fn leave(&mut self, now: Now) {
        self.leaving = true;
        let todo = self.swim.leave();
        self.carry_out(todo, now);
    }

    /// The other members, those that are gone included.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// This node's present identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.swim.identity()
    }

    /// How many members this node counts, itself included.
    fn group(&self) -> usize {
        1 + self.roster.active().count()
    }

    /// The addresses links should be kept to, beside the seeds.
    #[must_use]
    pub fn wanted_links(&self, now: Now) -> Vec<SocketAddr> {
        self.roster.addresses(now.mono, REDIAL_DOWN_FOR)
    }

    /// Whether `node` could be tracked if it became a member now. A hello of one that could not is refused.
    ///
    /// # Errors
    /// [`RosterFull`], whose sentence says what an operator can do.
    pub fn admits(&self, node: &NodeId) -> Result<(), RosterFull> {
        self.roster.check_room(node)
    }

    fn send(&mut self, node: NodeId, message: MemberMessage) {
        self.outputs.push(MembersOutput::Send(node, message));
    }

    /// Records an incarnation of `node`, for which somebody else may have to be forgotten.
    fn note(&mut self, node: &NodeId, identity: Identity, now: Now) -> Result<(), RosterFull> {
        if let Some(forgotten) = self.roster.note(node, identity, now.mono)? {
            tracing::info!(peer = %forgotten, "forgot a member that is gone, to make room for another");
            self.forget(forgotten);
        }
        Ok(())
    }

    /// Forgets members that have been gone for long.
    fn forget_gone(&mut self, now: Now) {
        for node in self.roster.forget_gone(now.mono, FORGET_GONE_AFTER) {
            tracing::info!(peer = %node, "forgot a member that is gone for long");
            self.forget(node);
        }
    }

    fn forget(&mut self, node: NodeId) {
        self.suspicions.clear(&node);
        self.failure_detector.forget(&node);
        self.clocks.forget(&node);
        self.duplicates.forget(&node);
        self.absences.forget(&node);
        self.outputs.push(MembersOutput::Forgotten(node));
        self.outputs.push(MembersOutput::Changed);
    }
}

/// Whole milliseconds.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
