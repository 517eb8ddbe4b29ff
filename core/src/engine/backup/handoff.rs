//! Hinted handoff (Dynamo, section 4.6), in `backup` mode: sessions this node holds although it is none of their holders,
//! because a caller wrote them here or because better placed nodes came. They stay until every holder has them.
//!
//! One round at a time offers sessions to their holders. A holder pulls what it lacks ([`super::handoff_pulls`]), and the
//! session is offered again later; a session that every holder has is removed here. A node that leaves is no holder of any,
//! and hands all it has off; what one holder has it need not keep, because the others get it from there. Tombstones owed to
//! holders are in [`super::tombstones`]; who the holders are is decided by [`super::placement`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::peers::intake::Refusals;
use crate::engine::{Engine, Phase};
use crate::replication::message::{Message, OfferedSession};
use crate::session::{Record, Touch};

/// How many sessions one round offers.
const ROUND: usize = 512;
/// How long a round waits for its answers before its sessions are offered again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a session that some holder lacked waits before it is offered again.
const PAUSE: Duration = Duration::from_millis(500);

/// The same for a node that leaves, which is soon gone.
const LEAVING_PATIENCE: Duration = Duration::from_secs(1);
/// See [`LEAVING_PATIENCE`].
const LEAVING_PAUSE: Duration = Duration::from_millis(50);

/// How long a session that was fetched stays, so that whoever fetched it finds it.
pub(in crate::engine) const STAY: Duration = Duration::from_secs(2);

/// See the module page. Holds at most one entry of each kind per session of the table.
#[derive(Debug, Default)]
pub(in crate::engine) struct Handoff {
    waiting: BTreeSet<SessionKey>,
    /// Sessions that were fetched, and until when they stay.
    fetched: BTreeMap<SessionKey, Duration>,
    round: Option<Round>,
    next: Duration,
}

#[derive(Debug)]
struct Round {
    request: u64,
    /// Each session with the digest and the last touch it was offered with.
    offered: BTreeMap<SessionKey, (u64, Option<Touch>)>,
    /// What was offered to each node that has not answered.
    unanswered: BTreeMap<NodeId, Vec<SessionKey>>,
    /// Sessions that some holder lacked.
    lacked: BTreeSet<SessionKey>,
    /// Sessions that some holder has.
    had: BTreeSet<SessionKey>,
    until: Duration,
}

impl Handoff {
    /// A session to hand off.
    pub(in crate::engine) fn add(&mut self, key: SessionKey) {
        self.waiting.insert(key);
    }

    /// A session was fetched: it stays for a moment.
    pub(in crate::engine) fn keep(&mut self, key: SessionKey, now: Now) {
        self.fetched.insert(key, now.mono + STAY);
    }

    /// Until when a session that was fetched stays.
    pub(in crate::engine) fn stays_until(&self, key: &SessionKey) -> Option<Duration> {
        self.fetched.get(key).copied()
    }

    /// Whether `key` waits to be handed off.
    pub(in crate::engine) fn has(&self, key: &SessionKey) -> bool {
        let offered = self.round.as_ref();
        !self.waiting.is_empty() && self.waiting.contains(key)
            || offered.is_some_and(|round| round.offered.contains_key(key))
    }

    /// The session of `key` is over: one that begins under its id is not the one that was to be handed off.
    pub(in crate::engine) fn forget(&mut self, key: &SessionKey) {
        self.waiting.remove(key);
        self.fetched.remove(key);
        if let Some(round) = &mut self.round {
            round.offered.remove(key);
        }
    }

    /// This node is to hold `key` again, which waited to be handed off; says whether it did.
    pub(in crate::engine) fn take_back(&mut self, key: &SessionKey) -> bool {
        !self.waiting.is_empty() && self.waiting.remove(key)
    }
}

impl Engine {
    /// The sessions that wait to be handed off to the nodes that should hold them.
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

    /// Begins a round when there is something to hand off, and ends one that was not answered.
    pub(in crate::engine) fn progress_handoff(&mut self, now: Now) {
        if self
            .backup
            .handoff
            .round
            .as_ref()
            .is_some_and(|round| now.mono >= round.until)
            && let Some(mut round) = self.backup.handoff.round.take()
        {
            let unanswered = std::mem::take(&mut round.unanswered);
            round.lacked.extend(unanswered.into_values().flatten());
            self.end_round(round, now);
        }
        self.backup.handoff.fetched.retain(|_, until| *until > now.mono);
        let idle = self.backup.handoff.round.is_none() && !self.backup.handoff.waiting.is_empty();
        let has_begun = !matches!(self.phase, Phase::Joining { .. });
        if idle && now.mono >= self.backup.handoff.next && has_begun {
            self.offer(now);
        }
    }

    /// Whether a node that leaves has nothing that no other node has, or nobody to give it to.
    pub(in crate::engine) fn has_handed_off(&self) -> bool {
        let Some(placement) = &self.backup.placement else {
            return true;
        };
        let mut holders = placement.view().ready();
        holders.next().is_none() || self.has_digests() && self.misplaced_len() == 0
    }

    /// How long a round waits for its answers, and how long sessions that were lacked wait.
    fn handoff_waits(&self) -> (Duration, Duration) {
        if self.is_leaving() {
            (LEAVING_PATIENCE, LEAVING_PAUSE)
        } else {
            (PATIENCE, PAUSE)
        }
    }

    fn offer(&mut self, now: Now) {
        let Some(placement) = &self.backup.placement else {
            return;
        };
        let (patience, pause) = self.handoff_waits();
        let (mut offered, mut to) = (BTreeMap::new(), BTreeMap::<NodeId, Vec<OfferedSession>>::new());
        while offered.len() < ROUND {
            let Some(key) = self.backup.handoff.waiting.pop_first() else {
                break;
            };
            let Some(record) = self.table.get(&key).filter(|record| record.is_alive()) else {
                continue;
            };
            if self.is_held_here(&key, record) {
                self.backup.unproven.add(key, now.mono);
                continue;
            }
            let route = record.route.as_ref().map(|r| &*r.value);
            let digest = record.digest_with_end();
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
            self.backup.handoff.waiting.extend(offered.into_keys());
            self.backup.handoff.next = now.mono + pause;
            return;
        }
        let keys = |sessions: &Vec<OfferedSession>| sessions.iter().map(|offer| offer.key.clone()).collect();
        let request = self.ids.next_request();
        self.backup.handoff.round = Some(Round {
            request,
            offered,
            unanswered: to
                .iter()
                .map(|(node, sessions)| (node.clone(), keys(sessions)))
                .collect(),
            lacked: BTreeSet::new(),
            had: BTreeSet::new(),
            until: now.mono + patience,
        });
        for (node, sessions) in to {
            self.send(&node, Message::HandoffOffer { request, sessions });
        }
    }

    /// Joins a part of the table of `node`. A session it wrongly holds, because it was bound to another worker or ended while
    /// the node was away, is answered with its lifecycle and route, now or at the next comparison.
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
            self.backup.unproven.remove(&key); // only what is kept there is a part of a table
            let known = self.table.get(&key);
            let is_misplaced = |record: &&Record| !record.is_alive() || !self.is_shared(node, &key, record);
            if let Some(record) = known.filter(is_misplaced).map(Record::lifecycle_and_route) {
                self.push_if_room(node, &key, &record);
            }
        }
        refused
    }

    /// `node` holds sessions it is no holder of. This node answers which of them it lacks, and pulls those.
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
            let known = self.table.get(&key).map(Record::digest_with_end);
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
        let Some(offered) = round.unanswered.remove(node) else {
            return;
        };
        let lacking: BTreeSet<_> = sessions.into_iter().collect();
        let (lacked, had): (Vec<_>, Vec<_>) = offered.into_iter().partition(|key| lacking.contains(key));
        round.lacked.extend(lacked);
        round.had.extend(had);
        let answered = round.unanswered.is_empty();
        if answered && let Some(round) = self.backup.handoff.round.take() {
            self.end_round(round, now);
            // Who leaves has no time to wait for the next tick.
            if self.is_leaving() && now.mono >= self.backup.handoff.next {
                self.offer(now);
            }
        }
    }

    fn end_round(&mut self, round: Round, now: Now) {
        let (leaving, (_, pause)) = (self.is_leaving(), self.handoff_waits());
        let mut again = false;
        for (key, as_offered) in round.offered {
            let Some(record) = self.table.get(&key).filter(|record| record.is_alive()) else {
                continue;
            };
            let stays = !leaving && self.backup.handoff.fetched.contains_key(&key);
            let is_lacked = if leaving {
                !round.had.contains(&key)
            } else {
                round.lacked.contains(&key)
            };
            again |= stays || is_lacked;
            // A touch may have been held back here, and then only this node can send it.
            if stays || is_lacked || (record.digest_with_end(), record.last_touch) != as_offered {
                self.backup.handoff.waiting.insert(key);
            } else if leaving {
                self.counters.handed_off += 1; // it is answered with until this node is gone
            } else if !self.is_held_here(&key, record) {
                let before = self.location(&key);
                self.table.remove(&key);
                self.moved_from(&key, &before);
                self.counters.handed_off += 1;
            } else {
                self.backup.unproven.add(key, now.mono);
            }
        }
        if again {
            self.backup.handoff.next = now.mono + pause;
        }
    }
}
