//! Events: what listeners are told of sessions, members and workers that come, change and go.
//!
//! An event is the difference between the state before a change and the state after it, so no way to change a thing is
//! without its event. While nobody listens nothing is compared or kept. Events hold no values of attributes. They are
//! numbered without gaps, by which a listener notices that it missed some. Keeping and delivering them belongs to
//! [`crate::drivers::node`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use limpet_wire::table::{Worker, WorkerStatus};

use super::{Engine, Phase};
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{EVENT_NAMES_MAX, EVENTS_KEPT};
use crate::membership::MemberState;
use crate::session::{Fate, Record, Stamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// One more than that of the event before. Changes while nobody listens have no number.
    pub number: u64,
    /// What it was.
    pub kind: Kind,
}

/// See [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Of a session.
    Session(SessionEvent),
    /// Of a member.
    Member(MemberEvent),
    /// Of a worker.
    Worker(WorkerEvent),
}

/// Something happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEvent {
    /// Which one.
    pub key: SessionKey,
    /// What.
    pub change: SessionChange,
    /// The worker it is bound to; of one that ended, the last.
    pub route: Option<Arc<str>>,
    /// Its version; of one that ended, the last.
    pub version: Stamp,
    /// Whether the change came from another node.
    pub replicated: bool,
}

/// What happened to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// It began.
    Created,
    /// It had expired, and a later touch refuted that.
    Revived,
    /// Attributes or its idle lifetime were written.
    Changed {
        /// Attributes that were set.
        set: Vec<Arc<str>>,
        /// Attributes that were removed.
        removed: Vec<Arc<str>>,
        /// How many further attributes are not named.
        more: usize,
    },
    /// It is bound to another worker.
    Rebound {
        /// The one before.
        from: Option<Arc<str>>,
    },
    /// It has another id.
    Renamed {
        /// The one before.
        from: Arc<str>,
    },
    /// It was idle for its lifetime.
    Expired,
    /// It was deleted.
    Deleted,
}

/// Something happened to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// Which one.
    pub node: NodeId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// What.
    pub change: MemberChange,
    /// Whether it is this node.
    pub own: bool,
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It became a member, for the first time or again.
    Up,
    /// It does not have the whole table yet.
    Joining,
    /// It has.
    Ready,
    /// No link to it is up.
    Suspect,
    /// An operator said that it is dead.
    Forgotten,
    /// It is gone and did not say that it leaves.
    Down,
    /// It said that it leaves.
    Left,
}

impl MemberChange {
    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Forgotten => "forgotten",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// A worker's status changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerEvent {
    /// Which one.
    pub route: String,
    /// The node that declares it.
    pub node: String,
    /// What it is now; `None` when nobody declares it any more.
    pub status: Option<WorkerStatus>,
    /// What it was; `None` when nobody had declared it.
    pub before: Option<WorkerStatus>,
}

/// The events of the calls since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The state of each member when they were last compared; `None` while nobody listens.
    members: Option<BTreeMap<NodeId, MemberState>>,
    /// Whether what is being joined comes from another node.
    pub(super) replicated: bool,
    next: u64,
    happened: Vec<Event>,
}

impl Events {
    const fn is_listening(&self) -> bool {
        self.members.is_some()
    }

    /// Past [`EVENTS_KEPT`] events of one call only numbers are given, so that a listener notices.
    fn push(&mut self, kind: Kind) {
        let number = self.next;
        self.next += 1;
        if self.happened.len() < EVENTS_KEPT {
            self.happened.push(Event { number, kind });
        }
    }

    /// The worker table was `before` and is `after`.
    pub(super) fn tell_workers(&mut self, before: &[Worker], after: &[Worker]) {
        if !self.is_listening() {
            return;
        }
        let status_in = |table: &[Worker], route: &str| {
            let worker = table.iter().find(|worker| worker.route == route);
            worker.map(|worker| worker.status)
        };
        let gone = before
            .iter()
            .filter(|worker| status_in(after, &worker.route).is_none());
        let told = after.iter().chain(gone).map(|worker| WorkerEvent {
            route: worker.route.clone(),
            node: worker.node.clone(),
            status: status_in(after, &worker.route),
            before: status_in(before, &worker.route),
        });
        let told: Vec<_> = told.filter(|event| event.status != event.before).collect();
        told.into_iter().for_each(|event| self.push(Kind::Worker(event)));
    }
}

impl Engine {
    /// Somebody listens from now on. Returns the number of the next event.
    pub fn listen(&mut self) -> u64 {
        if !self.events.is_listening() {
            self.events.members = Some(self.member_states());
        }
        self.events.next
    }

    /// Nobody listens any more.
    pub fn stop_listening(&mut self) {
        self.events.members = None;
        self.events.happened = Vec::new();
    }

    /// The events since this was last called.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events.happened)
    }

    /// The session before a change, if listeners are to be told of the change.
    pub(super) fn before_change(&self, key: &SessionKey) -> Option<Record> {
        let told = self.events.is_listening() && !key.is_reserved();
        told.then(|| self.table.get(key).cloned().unwrap_or_default())
    }

    /// Tells listeners how a session that was `before` differs from what it is now.
    pub(super) fn tell_change(&mut self, key: &SessionKey, before: &Record, now: Now) {
        let Some(after) = self.table.get(key) else { return };
        let there = |record: &Record| record.is_alive() && record.is_complete();
        let (was, is) = (there(before), there(after));
        let life = after.life();
        let same = before.life() == life;
        let mut changes = Vec::new();
        if was && !(after.is_alive() && same) {
            let idle = self.members.time_ms(now);
            let idle_for_long = self.expires_ms(before).is_some_and(|end| end <= idle);
            let fate = before.life().and_then(|life| after.lifecycle.fates.get(life));
            let last = if let Some(moved) = fate.and_then(Fate::renamed) {
                self.renamed(key, moved.to.clone());
                None
            } else if after.lifecycle.expired.map(|ended| ended.life) == before.life()
                || (life.is_some() && idle_for_long)
            {
                Some(SessionChange::Expired)
            } else {
                Some(SessionChange::Deleted)
            };
            changes.extend(last.map(|last| (last, before.clone())));
        }
        let Some(after) = self.table.get(key).filter(|_| is) else {
            self.tell(key, changes);
            return;
        };
        if was && same {
            changes.extend(differences(before, after).map(|change| (change, after.clone())));
        } else if before.lifecycle.expired.map(|ended| ended.life) == life {
            changes.push((SessionChange::Revived, after.clone()));
        } else if !self.is_told_as_renamed(key, after) {
            changes.push((SessionChange::Created, after.clone()));
        }
        self.tell(key, changes);
    }

    fn tell(&mut self, key: &SessionKey, changes: impl IntoIterator<Item = (SessionChange, Record)>) {
        for (change, record) in changes {
            self.events.push(Kind::Session(SessionEvent {
                key: key.clone(),
                change,
                route: record.route.as_ref().map(|route| route.value.clone()),
                version: record.version(),
                replicated: self.events.replicated,
            }));
        }
    }

    /// The session of `old` has the id `to` now. Listeners are told once, when the old id ends.
    fn renamed(&mut self, old: &SessionKey, to: Arc<str>) {
        let key = SessionKey::new(old.app(), &to);
        let record = self.table.get(&key).cloned().unwrap_or_default();
        let from = Arc::from(old.id());
        self.tell(&key, [(SessionChange::Renamed { from }, record)]);
    }

    /// Whether listeners were told, or are about to be, that a session was renamed to this.
    fn is_told_as_renamed(&self, key: &SessionKey, record: &Record) -> bool {
        let Some(origin) = &record.lifecycle.renamed_from else {
            return false;
        };
        let old = self.table.get(&SessionKey::new(key.app(), &origin.value.id));
        let moved_here = |old: &Record| {
            let mut renamed = old.lifecycle.fates.iter().filter_map(|(_, fate)| fate.renamed());
            renamed.any(|renamed| renamed.at == origin.life)
        };
        old.is_some_and(|old| old.is_alive() || moved_here(old))
    }

    fn member_states(&self) -> BTreeMap<NodeId, MemberState> {
        let own = match self.phase {
            Phase::Joining { .. } => MemberState::Joining,
            Phase::Ready => MemberState::Ready,
            Phase::Leaving => MemberState::Left,
        };
        let others = self
            .members
            .roster()
            .iter()
            .map(|(node, member)| (node, member.state()));
        others
            .chain([(&self.config.node, own)])
            .map(|(node, state)| (node.clone(), state))
            .collect()
    }

    /// Tells listeners that an operator said that `node` is dead.
    pub(super) fn tell_forgotten(&mut self, node: &NodeId) {
        let known = self.members.roster().get(node);
        let addr = known.map_or(self.identity().addr, |member| member.identity.addr);
        if self.events.is_listening() {
            self.events.push(Kind::Member(MemberEvent {
                node: node.clone(),
                addr,
                change: MemberChange::Forgotten,
                own: false,
            }));
        }
    }

    /// Tells listeners how the members differ from what they were when they were last compared.
    pub(super) fn tell_members(&mut self) {
        let Some(before) = &self.events.members else {
            return;
        };
        let states = self.member_states();
        if *before == states {
            return;
        }
        let mut changes = Vec::new();
        for (node, state) in &states {
            let own = *node == self.config.node;
            let addr = match self.members.roster().get(node) {
                Some(member) if !own => member.identity.addr,
                _ => self.identity().addr,
            };
            for change in steps(before.get(node).copied(), *state) {
                let node = node.clone();
                changes.push(MemberEvent {
                    node,
                    addr,
                    change,
                    own,
                });
            }
        }
        self.events.members = Some(states);
        changes
            .into_iter()
            .for_each(|change| self.events.push(Kind::Member(change)));
    }
}

/// The changes between two states of one life.
fn differences(before: &Record, after: &Record) -> impl Iterator<Item = SessionChange> + use<> {
    let route = |record: &Record| record.route.as_ref().map(|route| route.value.clone());
    let (old, new) = (route(before), route(after));
    let rebound = (old != new).then_some(SessionChange::Rebound { from: old });
    let (mut set, mut removed, mut more) = (Vec::new(), Vec::new(), 0);
    for (name, register) in after.attributes.iter() {
        if before
            .attributes
            .get(name)
            .is_some_and(|known| known.stamp == register.stamp)
        {
            continue;
        }
        if set.len() + removed.len() == EVENT_NAMES_MAX {
            more += 1;
        } else if register.value.is_some() {
            set.push(name.clone());
        } else {
            removed.push(name.clone());
        }
    }
    let written = after.version() != before.version();
    let only_rebound = rebound.is_some()
        && set.is_empty()
        && removed.is_empty()
        && before.max_inactive == after.max_inactive;
    let changed = (written && !only_rebound).then_some(SessionChange::Changed { set, removed, more });
    rebound.into_iter().chain(changed)
}

/// The changes a member went through from one state to another.
fn steps(before: Option<MemberState>, after: MemberState) -> Vec<MemberChange> {
    let is_active = |state| !matches!(state, MemberState::Down | MemberState::Left);
    let was_active = before.is_some_and(is_active);
    if before == Some(after) {
        return Vec::new();
    }
    let up = (is_active(after) && !was_active).then_some(MemberChange::Up);
    let then = match after {
        MemberState::Joining => Some(MemberChange::Joining),
        MemberState::Ready => Some(MemberChange::Ready),
        MemberState::Suspect => was_active.then_some(MemberChange::Suspect),
        // Listeners were never told that it was there.
        MemberState::Down | MemberState::Left if before.is_none() => None,
        MemberState::Down => was_active.then_some(MemberChange::Down),
        MemberState::Left => Some(MemberChange::Left),
    };
    up.into_iter().chain(then).collect()
}
