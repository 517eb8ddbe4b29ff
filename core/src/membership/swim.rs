//! The SWIM protocol (Das, Gupta, Motivala: SWIM, DSN 2002), as `foca` implements it, behind a few types of ours.
//!
//! Packets and timers come in ([`Swim::on_message`], [`Swim::fire`]); packets, timers and [`Event`]s go out as a
//! [`Todo`]. Carrying packets, and what an event means for the rest of a node, belong to [`crate::engine::members`].

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, OwnedNotification, PeriodicParams, PostcardCodec};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::Identity;

/// A timer SWIM asked for; to be handed back when it is due.
pub type Timer = foca::Timer<Identity>;

/// How fast failed members are found.
#[derive(Debug, Clone, Copy)]
pub struct SwimConfig {
    /// How often one member is probed.
    pub probe_interval: Duration,
    /// How long a member may be silent before it is down: the probe that finds it, and the time to refute the
    /// suspicion.
    pub drop_time: Duration,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is active.
    Up(Identity),
    /// A member is down, or has left.
    Down(Identity),
    /// A member came back under a later incarnation.
    Replaced {
        /// The identity that ended.
        old: Identity,
        /// The identity that takes its place.
        new: Identity,
    },
    /// This node was declared down by mistake and goes on under this identity.
    Rejoined(Identity),
}

/// What there is to do after a call.
#[derive(Debug, Default)]
pub struct Todo {
    /// Bytes to send, to whom.
    pub datagrams: Vec<(Identity, Vec<u8>)>,
    /// Timers to start.
    pub timers: Vec<(Duration, Timer)>,
    /// What changed.
    pub events: Vec<Event>,
}

/// This node's view of the membership.
pub struct Swim {
    identity: Identity,
    foca: Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
}

impl std::fmt::Debug for Swim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swim")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Swim {
    /// A node alone, which draws its choices from `seed`.
    #[must_use]
    pub fn new(identity: Identity, config: SwimConfig, seed: u64) -> Self {
        let foca = Foca::new(
            identity.clone(),
            foca_config(config),
            StdRng::seed_from_u64(seed),
            PostcardCodec,
        );
        Self {
            identity,
            foca,
            runtime: AccumulatingRuntime::new(),
        }
    }

    /// This node's present identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The latest incarnation of `node` that was heard of, dead or alive.
    #[must_use]
    pub fn latest_incarnation(&self, node: &str) -> Option<u64> {
        let all = self.foca.iter_membership_state().map(foca::Member::id);
        all.filter(|id| *id.node == *node).map(|id| id.incarnation).max()
    }

    /// Whether some incarnation of `node` is alive, or only suspected not to be.
    #[must_use]
    pub fn is_active(&self, node: &str) -> bool {
        self.foca.iter_members().any(|member| *member.id().node == *node)
    }

    /// A link to `peer` is up: announces this node to it.
    pub fn meet(&mut self, peer: Identity) -> Todo {
        self.run("meet", |foca, runtime| foca.announce(peer, runtime))
    }

    /// `peer` has failed. Everybody learns it at the speed of gossip; a node that is alive after all refutes it.
    pub fn declare_down(&mut self, peer: &Identity) -> Todo {
        let known = self.foca.iter_members().find(|member| member.id() == peer);
        let Some(incarnation) = known.map(foca::Member::incarnation) else {
            return Todo::default();
        };
        let down = foca::Member::new(peer.clone(), incarnation, foca::State::Down);
        self.run("declare down", |foca, mut runtime| {
            foca.apply_many(std::iter::once(down), true, &mut runtime)?;
            foca.gossip(runtime)
        })
    }

    /// A packet from a peer. Bytes that are no packet of SWIM change nothing.
    pub fn on_message(&mut self, bytes: &[u8]) -> Todo {
        self.run("message", |foca, runtime| foca.handle_data(bytes, runtime))
    }

    /// Goes on under a later incarnation, past `known`.
    pub fn outpace(&mut self, known: u64) -> Todo {
        let identity = Identity {
            incarnation: known.saturating_add(1),
            ..self.identity.clone()
        };
        self.identity = identity.clone();
        self.run("outpace", |foca, mut runtime| {
            foca.change_identity(identity, &mut runtime)?;
            // Under another identity foca probes nobody until an update arrives, and then one might never arrive.
            foca.apply_many(std::iter::empty(), true, runtime)
        })
    }

    /// A timer is due.
    pub fn fire(&mut self, timer: Timer) -> Todo {
        self.run("fire", |foca, runtime| foca.handle_timer(timer, runtime))
    }

    /// This node leaves.
    pub fn leave(&mut self) -> Todo {
        self.run("leave", |foca, runtime| foca.leave_cluster(runtime))
    }

    /// Makes a call. A node that had to take a later incarnation takes one that is later than any that is known of
    /// it, those of former processes whose clock was ahead included.
    fn run(
        &mut self,
        what: &'static str,
        call: impl FnOnce(
            &mut Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
            &mut AccumulatingRuntime<Identity>,
        ) -> Result<(), foca::Error>,
    ) -> Todo {
        let mut todo = self.call(what, call);
        if !todo
            .events
            .iter()
            .any(|event| matches!(event, Event::Rejoined(_)))
        {
            return todo;
        }
        let known = self.foca.iter_membership_state().map(foca::Member::id);
        let known = known
            .filter(|id| id.node == self.identity.node)
            .map(|id| id.incarnation);
        if let Some(known) = known.max().filter(|known| *known >= self.identity.incarnation) {
            let later = self.outpace(known);
            todo.datagrams.extend(later.datagrams);
            todo.timers.extend(later.timers);
            todo.events.push(Event::Rejoined(self.identity.clone()));
        }
        todo
    }

    fn call(
        &mut self,
        what: &'static str,
        call: impl FnOnce(
            &mut Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
            &mut AccumulatingRuntime<Identity>,
        ) -> Result<(), foca::Error>,
    ) -> Todo {
        if let Err(error) = call(&mut self.foca, &mut self.runtime) {
            tracing::debug!(%error, what, "membership ignored a message");
        }
        let mut todo = Todo::default();
        while let Some((to, bytes)) = self.runtime.to_send() {
            todo.datagrams.push((to, bytes.to_vec()));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            todo.timers.push((after, timer));
        }
        while let Some(notification) = self.runtime.to_notify() {
            todo.events.extend(match notification {
                OwnedNotification::MemberUp(id) => Some(Event::Up(id)),
                OwnedNotification::MemberDown(id) => Some(Event::Down(id)),
                OwnedNotification::Rename(old, new) => Some(Event::Replaced { old, new }),
                OwnedNotification::Rejoin(id) => {
                    self.identity = id.clone();
                    Some(Event::Rejoined(id))
                }
                OwnedNotification::Active | OwnedNotification::Idle | OwnedNotification::Defunct => None,
            });
        }
        todo
    }
}

/// One probe fits into an interval, two intervals pass before a silent member is noticed at the latest when there
/// are two, and the rest of `drop_time` is left for it to refute the suspicion.
fn foca_config(config: SwimConfig) -> foca::Config {
    let two = NonZeroUsize::MIN.saturating_add(1);
    let mut foca = foca::Config::simple();
    foca.probe_period = config.probe_interval;
    foca.probe_rtt = config.probe_interval * 2 / 5;
    foca.suspect_to_down_after = config
        .drop_time
        .saturating_sub(config.probe_interval * 2)
        .max(config.probe_interval);
    foca.max_transmissions = NonZeroU8::MIN.saturating_add(9);
    foca.max_packet_size = NonZeroUsize::MIN.saturating_add(60_000);
    foca.remove_down_after = Some(Duration::from_secs(3600));
    foca.notify_down_members = true;
    foca.periodic_gossip = Some(PeriodicParams {
        frequency: Duration::from_millis(200),
        num_members: two.saturating_add(1),
    });
    foca.periodic_announce = Some(PeriodicParams {
        frequency: Duration::from_secs(10),
        num_members: two,
    });
    foca.periodic_announce_to_down_members = Some(PeriodicParams {
        frequency: Duration::from_secs(5),
        num_members: two,
    });
    foca
}
