//! Sessions this node holds and should not, in `backup` mode: written here by a caller whose core is no holder, or
//! held before somebody better placed came. They stay until every node that should hold them says that it does.
//!
//! One round at a time: the sessions are offered to their holders; what a holder lacks it takes ([`crate::engine::backup::handoff_pulls`]),
//! and the session is offered again later; what all of them have is forgotten here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::peers::intake::Refusals;
use crate::engine::{Engine, Phase};
use crate::replication::acks::DeliveryStatus;
use crate::replication::message::{Message, OfferedSession};
use crate::replication::position::StreamPosition;
use crate::session::{Record, Stamp, Touch};

/// How many sessions one round offers.
const ROUND: usize = 512;
/// How long a round waits for its answers before its sessions are offered again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a session that some holder lacked waits before it is offered again.
const PAUSE: Duration = Duration::from_millis(500);

/// How many ends one tick looks at, whether they are told or waited for.
pub(in crate::engine) const TOMBSTONES_PER_TICK: usize = 1024;
/// How long a session that was fetched stays, so that whoever fetched it finds it.
const STAY: Duration = Duration::from_secs(2);

/// See the module page. Holds at most one entry of each kind per session of the table.
#[derive(Debug, Default)]
pub(in crate::engine) struct Handoff {
    waiting: BTreeSet<SessionKey>,
    /// Sessions that ended here and were held elsewhere: which nodes have not acknowledged that, and where it lies in
    /// the outbox of each that was told.
    deadlines: BTreeMap<SessionKey, BTreeMap<NodeId, Option<StreamPosition>>>,
    next_tombstones: Duration,
    /// The end that was looked at last, while there are more.
    tombstones_after: Option<SessionKey>,
    /// Whether some were not told for want of room.
    tombstones_wait_for_room: bool,
    /// Sessions that were fetched, and until when they stay.
    fetched: BTreeMap<SessionKey, Duration>,
    round: Option<Round>,
    next: Duration,
}

#[derive(Debug)]
struct Round {
    request: u64,
    /// Each session with the digest and the last use it was offered with.
    offered: BTreeMap<SessionKey, (u64, Option<Touch>)>,
    unanswered: BTreeSet<NodeId>,
    /// Sessions that some holder lacked.
    lacked: BTreeSet<SessionKey>,
    until: Duration,
}

impl Handoff {
    /// A session to hand over.
    pub(in crate::engine) fn add(&mut self, key: SessionKey) {
        self.waiting.insert(key);
    }

    /// `holders` are to be told that a session has ended.
    pub(in crate::engine) fn add_tombstone(&mut self, key: SessionKey, holders: Vec<NodeId>) {
        if holders.is_empty() {
            return;
        }
        let told = self.deadlines.entry(key).or_default();
        for node in holders {
            told.entry(node).or_insert(None);
        }
    }

    /// A session was fetched: it stays for a moment.
    pub(in crate::engine) fn keep(&mut self, key: SessionKey, now: Now) {
        self.fetched.insert(key, now.mono + STAY);
    }
}

impl Engine {
    /// The sessions that wait to be handed over to the nodes that should hold them.
    pub fn misplaced(&self) -> impl Iterator<Item = &SessionKey> {
        let round = self.backup.handoff.round.iter();
        round
            .flat_map(|round| round.offered.keys())
            .chain(&self.backup.handoff.waiting)
    }

    /// How many those are, without looking at them.
    #[must_use]
    pub fn misplaced_len(&self) -> usize {
        let offered = self
            .backup
            .handoff
            .round
            .as_ref()
            .map_or(0, |round| round.offered.len());
        offered + self.backup.handoff.waiting.len()
    }

    /// The nodes that are still to be told of the end of some session.
    pub fn untold_tombstones(&self) -> impl Iterator<Item = &NodeId> {
        self.backup.handoff.deadlines.values().flat_map(BTreeMap::keys)
    }

    /// Begins a round when there is something to hand over, and ends one that was not answered.
    pub(in crate::engine) fn progress_handoff(&mut self, now: Now) {
        if self
            .backup
            .handoff
            .round
            .as_ref()
            .is_some_and(|round| now.mono >= round.until)
            && let Some(round) = self.backup.handoff.round.take()
        {
            self.backup.handoff.waiting.extend(round.offered.into_keys());
            self.backup.handoff.next = now.mono + PAUSE;
        }
        self.backup.handoff.fetched.retain(|_, until| *until > now.mono);
        let idle = self.backup.handoff.round.is_none() && !self.backup.handoff.waiting.is_empty();
        if idle && now.mono >= self.backup.handoff.next && self.phase == Phase::Ready {
            self.offer(now);
        }
    }

    /// The sessions that are over by these changes, and are not known to be here.
    pub(in crate::engine) fn tombstones_in(&self, changes: &[(SessionKey, Record)]) -> Vec<SessionKey> {
        if self.backup.placement.is_none() {
            return Vec::new();
        }
        let named = changes.iter().flat_map(|(key, record)| {
            let over = (record.lifecycle.deleted, key.clone());
            let old = record.lifecycle.renamed_from.as_ref().and_then(|origin| {
                let old = SessionKey::received(key.app(), &origin.value)?;
                Some((origin.stamp, old))
            });
            (!record.is_alive()).then_some(over).into_iter().chain(old)
        });
        let unknown = named.filter(|(over, key)| {
            let known = self
                .table
                .get(key)
                .map_or(Stamp::ZERO, |record| record.lifecycle.deleted);
            *over > known
        });
        unknown.map(|(_, key)| key).collect()
    }

    /// `from` has told the ends of these sessions. If this node is none of those that hold them, it sees to it that
    /// they know: it was told because another one is held here, or because fewer nodes can be seen from there.
    pub(in crate::engine) fn forward_tombstones(&mut self, from: &NodeId, ended: Vec<SessionKey>) {
        let Some(placement) = &self.backup.placement else {
            return;
        };
        for key in ended {
            let holders = placement.view().holders(&key, None);
            if !holders.contains(&self.config.node) {
                let others = holders.iter().filter(|node| *node != from);
                let others: Vec<_> = others.cloned().collect();
                self.backup.handoff.add_tombstone(key, others);
            }
        }
    }

    /// Tells the ends that were made here to those who held the sessions, as soon as they can be reached: the change
    /// itself may have been dropped with a member that was down. They may be many: some each tick, in turn.
    pub(in crate::engine) fn send_tombstones(&mut self, now: Now) {
        if self.backup.handoff.deadlines.is_empty() || now.mono < self.backup.handoff.next_tombstones {
            return;
        }
        let after = self.backup.handoff.tombstones_after.take();
        let after = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let some = self.backup.handoff.deadlines.range((after, Bound::Unbounded));
        let some: Vec<_> = some
            .take(TOMBSTONES_PER_TICK)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &some {
            self.send_tombstone(key);
        }
        if some.len() == TOMBSTONES_PER_TICK {
            self.backup.handoff.tombstones_after = some.last().cloned();
        } else if !std::mem::take(&mut self.backup.handoff.tombstones_wait_for_room) {
            self.backup.handoff.next_tombstones = now.mono + PAUSE;
        }
    }

    fn send_tombstone(&mut self, key: &SessionKey) {
        let Some(mut holders) = self.backup.handoff.deadlines.remove(key) else {
            return;
        };
        let over = self.table.get(key).filter(|record| !record.is_alive());
        let Some(record) = over.map(Record::lifecycle_and_route) else {
            return; // begun again, or forgotten
        };
        let view = self.backup.placement.as_ref().map(|placement| placement.view());
        // Whoever is gone is told when it comes back (see [`crate::engine::backup::placement`]).
        holders.retain(|node, _| view.is_some_and(|view| view.is_ready(node)));
        holders.retain(|node, told| {
            let delivery_status =
                told.and_then(|position| Some(self.peers.get(node)?.delivery_status(position)));
            match delivery_status {
                Some(DeliveryStatus::Held) => return false,
                Some(DeliveryStatus::Pending) => return true,
                _ => *told = None,
            }
            if self.can_answer(node) {
                *told = self.push_if_room(node, key, &record);
                self.backup.handoff.tombstones_wait_for_room |= told.is_none();
            }
            true
        });
        if !holders.is_empty() {
            self.backup.handoff.deadlines.insert(key.clone(), holders);
        }
    }

    fn offer(&mut self, now: Now) {
        let Some(placement) = &self.backup.placement else {
            return;
        };
        let (mut offered, mut to) = (BTreeMap::new(), BTreeMap::<NodeId, Vec<OfferedSession>>::new());
        while offered.len() < ROUND {
            let Some(key) = self.backup.handoff.waiting.pop_first() else {
                break;
            };
            let Some(record) = self.table.get(&key).filter(|record| record.is_alive()) else {
                continue;
            };
            if self.is_held_here(&key, record) {
                continue;
            }
            let route = record.route.as_ref().map(|r| &*r.value);
            let digest = record.digest();
            for node in placement.view().holders(&key, route).iter() {
                to.entry(node.clone()).or_default().push(OfferedSession {
                    key: key.clone(),
                    digest,
                    last_touch: record.last_touch,
                });
            }
            offered.insert(key, (digest, record.last_touch));
        }
        if to.is_empty() {
            self.backup.handoff.next = now.mono + PAUSE;
            return;
        }
        let request = self.ids.next_request();
        self.backup.handoff.round = Some(Round {
            request,
            offered,
            unanswered: to.keys().cloned().collect(),
            lacked: BTreeSet::new(),
            until: now.mono + PATIENCE,
        });
        for (node, sessions) in to {
            self.send(&node, Message::HandoffOffer { request, sessions });
        }
    }

    /// Joins a part of the table of `node`. What it holds as its own and is not, because the session was bound to
    /// another worker or ended while it was away, it is told, now or when tables are compared the next time.
    pub(in crate::engine) fn apply_table(
        &mut self,
        node: &NodeId,
        records: Vec<(SessionKey, Record)>,
        now: Now,
    ) -> Refusals {
        if self.backup.placement.is_none() {
            return self.apply(node, records, now);
        }
        let alive = records.iter().filter(|(_, record)| record.is_alive());
        let keys: Vec<SessionKey> = alive.map(|(key, _)| key.clone()).collect();
        let refused = self.apply(node, records, now);
        for key in keys {
            let known = self.table.get(&key);
            let strays = |record: &&Record| !record.is_alive() || !self.is_shared(node, &key, record);
            if let Some(record) = known.filter(strays).map(Record::lifecycle_and_route) {
                self.push_if_room(node, &key, &record);
            }
        }
        refused
    }

    /// `node` holds sessions that are not its own: it is told which of them are not here as it has them, and they are
    /// taken from there.
    pub(in crate::engine) fn on_offer(
        &mut self,
        node: &NodeId,
        request: u64,
        sessions: Vec<OfferedSession>,
        now: Now,
    ) {
        let (mut offered, mut lacking) = (BTreeSet::new(), BTreeMap::new());
        for OfferedSession {
            key,
            digest,
            last_touch,
        } in sessions
        {
            let known = self.table.get(&key).map(Record::digest);
            let taken = self.backup.handoff_pulls.has(node, &key, digest);
            if known.is_some_and(|known| known == digest || taken) {
                if let Some(last_touch) = last_touch {
                    self.join(&key, &Record::touch_only(last_touch), now);
                }
            } else {
                lacking.insert(key.clone(), digest);
            }
            offered.insert(key);
        }
        if !lacking.is_empty()
            && let Some(placement) = &mut self.backup.placement
        {
            placement.note_lacked(now);
        }
        let sessions = lacking.keys().cloned().collect();
        self.send(node, Message::HandoffLacking { request, sessions });
        self.take(node, &offered, lacking, now);
    }

    /// A holder says which of the sessions it was offered it lacks, and takes them.
    pub(in crate::engine) fn on_lacking(
        &mut self,
        node: &NodeId,
        request: u64,
        sessions: Vec<SessionKey>,
        now: Now,
    ) {
        let Some(round) = self
            .backup
            .handoff
            .round
            .as_mut()
            .filter(|round| round.request == request)
        else {
            return; // too late
        };
        if !round.unanswered.remove(node) {
            return;
        }
        let asked = sessions.into_iter().filter(|key| round.offered.contains_key(key));
        round.lacked.extend(asked.collect::<Vec<_>>());
        let answered = round.unanswered.is_empty();
        if answered && let Some(round) = self.backup.handoff.round.take() {
            self.end_round(round, now);
        }
    }

    fn end_round(&mut self, round: Round, now: Now) {
        let mut again = !round.lacked.is_empty();
        for (key, as_offered) in round.offered {
            let Some(record) = self.table.get(&key).filter(|record| record.is_alive()) else {
                continue;
            };
            let stays = self.backup.handoff.fetched.contains_key(&key);
            again |= stays;
            // A use may have been held back here, and is then told by nobody else.
            if stays || round.lacked.contains(&key) || (record.digest(), record.last_touch) != as_offered {
                self.backup.handoff.waiting.insert(key);
            } else if !self.is_held_here(&key, record) {
                let before = self.location(&key);
                self.table.remove(&key);
                self.moved_from(&key, &before);
                self.counters.handed_off += 1;
            }
        }
        if again {
            self.backup.handoff.next = now.mono + PAUSE;
        }
    }
}
