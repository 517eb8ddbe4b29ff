//! The other nodes as places to send to: links that come and go, messages that arrive.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::peer::Peer;
use super::uses::SESSIONS_PER_TICK;
use super::{Engine, Output};
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{BATCH_BYTES, CONTROL_QUEUE_MAX, WORKERS_MAX};
use crate::membership::Identity;
use crate::replication::lanes::{CONTROL, Lane};
use crate::replication::message::{self, Announce, Message};
use crate::replication::outbox::{Slot, first_slot};
use crate::session::Record;

/// A link another node made to this one. Of each lane, a node is listened to on the latest it has spoken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listening {
    lane: Lane,
    number: u64,
}

/// A batch of changes that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// What acknowledges it.
    pub slot: Slot,
    /// Whether more changes wait than one batch carries.
    pub more: bool,
}

impl Engine {
    /// The link of `lane` to the node that says it is `identity` is up. Lane 0 comes first; another lane's link to a
    /// node without it is to be closed.
    pub fn link_up(&mut self, node: &NodeId, identity: Identity, lane: Lane, now: Now) {
        self.note_standstill(now);
        if lane != CONTROL {
            self.lane_up(node, lane);
            return;
        }
        let known = self
            .roster
            .get(node)
            .map_or(0, |known| known.identity.incarnation);
        let incarnation = identity.incarnation;
        let later = (1..incarnation).contains(&known);
        if later {
            // Another run of it, with an empty memory: what the old one was still to be told it will ask for.
            self.forget_peer(node, now);
            self.distrust_workers(node);
        }
        let Some(member) = self.roster.note(node, identity.clone(), now.mono) else {
            self.outputs.push(Output::Close(node.clone(), CONTROL));
            return;
        };
        member.linked = true;
        member.refusal_counts = true;
        self.note_peer(node, now);
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        peer.announced &= !later;
        peer.control.clear();
        for heard in self
            .heard
            .get_mut(node)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            heard.ack_due = true;
        }
        self.lane_up(node, CONTROL);
        self.settle_doubt(node);
        self.name_welcome(node);
        self.expect_to_hear(node, now);
        self.announce_to(node);
        let known = self.latest_run(node);
        if known > incarnation {
            self.tell_known(node, known);
        }
        let todo = self.swim.meet(identity);
        self.carry_out(todo, now);
        self.tell_missed_uses(node, SESSIONS_PER_TICK);
        self.say_summary(node);
        self.refresh_table();
    }

    /// Sends again on the new link what the last one left without an answer.
    fn lane_up(&mut self, node: &NodeId, lane: Lane) {
        let peer = self.peers.get_mut(node);
        let peer = peer.filter(|peer| lane == CONTROL || peer.is_linked());
        if let Some(peer) = peer
            && let Some(link) = peer.links.get_mut(usize::from(lane))
        {
            link.up = true;
            if let Some(outbox) = peer.outboxes.lane_mut(lane) {
                outbox.rewind();
            }
            self.outputs.push(Output::Wake(node.clone(), lane));
        } else {
            self.outputs.push(Output::Close(node.clone(), lane));
        }
    }

    /// The link of `lane` to `node` is down. `refused`: its address refuses connections, so its process is gone. With
    /// lane 0 all others count as down as well, and are to be closed.
    pub fn link_down(&mut self, node: &NodeId, lane: Lane, refused: bool, now: Now) {
        if let Some(peer) = self.peers.get_mut(node) {
            if lane != CONTROL {
                if let Some(link) = peer.links.get_mut(usize::from(lane)) {
                    link.up = false;
                }
                self.outputs.push(Output::Wake(node.clone(), peer.chunk_lane()));
                return;
            }
            for (other, link) in (CONTROL..).zip(&mut peer.links) {
                if std::mem::replace(&mut link.up, false) && other != CONTROL {
                    self.outputs.push(Output::Close(node.clone(), other));
                }
            }
            peer.control.clear();
            peer.wanted.clear();
            self.transfers.ask_again(node);
        }
        if lane != CONTROL {
            return;
        }
        let Some(member) = self.roster.get_mut(node) else {
            return;
        };
        if std::mem::replace(&mut member.linked, false) {
            self.answer_gone(node);
        }
        let Some(member) = self.roster.get_mut(node) else {
            return;
        };
        // Only the first refusal after a link: if the process lives on, behind something that refuses for it, it
        // says so, and then it is silence that counts.
        if refused && member.active && std::mem::take(&mut member.refusal_counts) {
            let identity = member.identity.clone();
            self.doubt_refused(node, identity, now);
        }
        self.settle_unheard(node, now);
        if !self.roster.get(node).is_some_and(|member| member.active) {
            self.remove_peer(node);
        }
        self.progress_join(now);
        self.refresh_table();
    }

    /// Makes sure something can be sent to `node`.
    pub(super) fn note_peer(&mut self, node: &NodeId, now: Now) {
        if !self.peers.contains_key(node) {
            let first = self.next_slots.max(first_slot(now.wall_ms));
            let peer = Peer::new(self.config.links, self.config.queue_bytes, first);
            self.peers.insert(node.clone(), peer);
        }
    }

    /// Forgets what was to be sent to `node`: repair brings it, and uses are told again. Its slots are never given again.
    fn remove_peer(&mut self, node: &NodeId) -> Option<Peer> {
        let peer = self.peers.remove(node)?;
        self.next_slots = self.next_slots.max(peer.outboxes.next());
        self.note_missed_uses(node, peer.outboxes.told_ms());
        Some(peer)
    }

    /// Nothing answers at `addr`. See [`Self::link_down`].
    pub fn unreachable(&mut self, addr: SocketAddr, refused: bool, now: Now) {
        let node = self
            .roster
            .iter()
            .find(|(_, m)| m.identity.addr == addr)
            .map(|(node, _)| node.clone());
        if let Some(node) = node.filter(|node| !self.peers.get(node).is_some_and(Peer::is_linked)) {
            self.link_down(&node, CONTROL, refused, now);
        }
    }

    /// `node` has made a link to this node, its `lane`, and says it listens at `addr`: one is made back. Once it speaks
    /// on the new link, whatever still arrives on an earlier one of that lane is of the past, and not heard.
    pub fn hello_heard(&mut self, node: &NodeId, lane: Lane, addr: SocketAddr) -> Listening {
        if lane != CONTROL {
            // Lane 0 is what a node is linked by.
        } else if self.peers.get(node).is_some_and(Peer::is_linked) {
            // What it heard on its earlier link may be gone with it.
            self.announce_to(node);
        } else {
            self.outputs.push(Output::Dial(addr));
        }
        self.transfers.ask_again(node);
        self.next_listening += 1;
        Listening {
            lane,
            number: self.next_listening,
        }
    }

    /// Queues a control message. A peer that takes none is cut off rather than remembered without end.
    pub(super) fn say(&mut self, node: &NodeId, message: Message) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if !peer.is_linked() {
            return;
        }
        if peer.control.len() >= CONTROL_QUEUE_MAX {
            tracing::warn!(peer = %node, "takes no messages; its link is closed");
            peer.control.clear();
            self.outputs.push(Output::Close(node.clone(), CONTROL));
            return;
        }
        peer.control.push_back(message);
        self.outputs.push(Output::Wake(node.clone(), CONTROL));
    }

    /// Tells every peer what this node is.
    pub(super) fn announce(&mut self) {
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        for node in nodes {
            self.announce_to(&node);
        }
    }

    /// What to send to `node` next on its link of `lane`, before [`Self::next_changes`]: everything short, then one
    /// chunk it asked for. Empty when nothing waits or the link is down.
    pub fn next_messages(&mut self, node: &NodeId, lane: Lane) -> Vec<Message> {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_up(lane)) else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        if lane == CONTROL {
            messages.extend(peer.control.drain(..));
            let heard = self.heard.get_mut(node).into_iter().flatten();
            messages.extend(heard.filter_map(|(lane, heard)| heard.take_ack(*lane)));
        }
        if lane == peer.chunk_lane()
            && let Some(pull) = peer.wanted.pop_front()
        {
            messages.push(self.chunk(node, &pull));
        }
        messages
    }

    /// The next batch of changes for `node` on its link of `lane`: appends it to `into`, encoded as
    /// [`Message::Deltas`]. They are many, and so are spelled from where they lie.
    pub fn next_changes(&mut self, node: &NodeId, lane: Lane, into: &mut Vec<u8>) -> Option<Said> {
        let peer = self.peers.get_mut(node).filter(|peer| peer.is_up(lane))?;
        let outbox = peer.outboxes.lane_mut(lane)?;
        let (slot, changes) = outbox.batch(BATCH_BYTES)?;
        self.counters.deltas_sent += changes.len() as u64;
        if let Err(error) = message::encode_deltas(slot, changes, into) {
            tracing::error!(peer = %node, %error, "changes were not sent");
        }
        let more = outbox.has_waiting();
        Some(Said { slot, more })
    }

    /// A message of `node` arrived on the link `on`. Says whether that link is still the one to listen to.
    pub fn hear(&mut self, node: &NodeId, on: Listening, message: Message, now: Now) -> bool {
        self.note_standstill(now);
        let heard = self
            .heard
            .entry(node.clone())
            .or_default()
            .entry(on.lane)
            .or_default();
        if on.number < heard.on {
            return false;
        }
        heard.on = on.number;
        heard.at = now.mono;
        if message.is_of_sessions() && !self.believes(node, now) {
            return false; // what it says is to be said again once it may be believed
        }
        match message {
            Message::Gossip(bytes) => self.hear_word(node, &bytes, now),
            Message::Announce(announce) => self.hear_announce(node, announce, now),
            Message::Deltas { slot, changes } => {
                self.counters.deltas_received += changes.len() as u64;
                let ended = self.ends_in(&changes);
                let refused = self.apply(node, changes, now);
                self.pass_ends_on(node, ended);
                let heard = self
                    .heard
                    .entry(node.clone())
                    .or_default()
                    .entry(on.lane)
                    .or_default();
                heard.refused = match refused {
                    0 if slot >= heard.slot => heard.refused,
                    0 => 0, // another run of it, which numbers anew
                    _ => slot,
                };
                heard.slot = slot;
                heard.ack_due = true;
                self.outputs.push(Output::Wake(node.clone(), CONTROL));
            }
            Message::Ack { lane, slot, refused } => self.hear_ack(node, lane, slot, refused),
            Message::Pull(pull) => self.hear_pull(node, pull, now),
            Message::Busy { request } => self.hear_busy(node, request, now),
            Message::Chunk {
                request,
                records,
                next,
            } => {
                self.hear_chunk(node, request, records, next, now);
            }
            Message::Digest(digests) => self.hear_digest(node, &digests, now),
            Message::Summary(summary) => self.hear_summary(node, summary),
            Message::Compare => self.say_digest(node),
            Message::Offer { request, sessions } => self.hear_offer(node, request, sessions, now),
            Message::Lacking { request, sessions } => self.hear_lacking(node, request, sessions, now),
            Message::Fetch { request, key } => self.hear_fetch(node, request, &key),
            Message::Fetched { request, key, record } => {
                self.hear_fetched(node, request, &key, record, now);
            }
        }
        true
    }

    /// `node` has received `lane` up to `slot`, and refused something up to `refused`.
    fn hear_ack(&mut self, node: &NodeId, lane: Lane, slot: Slot, refused: Slot) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let (Some(outbox), Some(link)) = (
            peer.outboxes.lane_mut(lane),
            peer.links.get_mut(usize::from(lane)),
        ) else {
            return; // a lane of an earlier run of this node
        };
        // A slot that was never given is one of an earlier run, whose clock was ahead.
        if refused > outbox.acked() && refused < outbox.next() {
            link.refused = refused;
            self.acks.dropped(node, lane, refused);
        }
        // Whatever dropped them, and whether it said so or not.
        self.acks.dropped(node, lane, outbox.floor().saturating_sub(1));
        outbox.acknowledge(slot);
        let done = self.acks.acknowledged(node, lane, outbox.acked());
        let done = done.into_iter();
        self.outputs
            .extend(done.map(|(waiter, copies)| Output::Copies(waiter, copies)));
    }

    fn hear_announce(&mut self, node: &NodeId, mut announce: Announce, now: Now) {
        if announce.ready && matches!(self.phase, super::Phase::Joining { .. }) {
            self.note_idle_time(node, announce.idle_ms, now);
        }
        if self.hear_contact(node, &announce, now) {
            return;
        }
        let Some(member) = self.roster.get_mut(node) else {
            return;
        };
        let became_ready = announce.ready && !member.ready;
        member.ready = announce.ready;
        member.leaving = announce.leaving;
        if announce.workers.len() > WORKERS_MAX {
            tracing::warn!(peer = %node, workers = announce.workers.len(), "declares too many workers; the first are taken");
            announce.workers.truncate(WORKERS_MAX);
        }
        self.announced.insert(node.clone(), announce.workers);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.announced = true;
        }
        if announce.leaving {
            self.forget_peer_waits(node);
        }
        if became_ready {
            self.say_summary(node);
        }
        self.progress_join(now);
        self.refresh_table();
    }

    /// Joins another node's records. A record with a stamp from the far future is refused whole; says how many were.
    pub(super) fn apply(&mut self, from: &NodeId, records: Vec<(SessionKey, Record)>, now: Now) -> usize {
        let mut refused = 0;
        self.table.warm(records.iter().map(|(key, _)| key));
        self.events.replicated = true;
        for (key, mut record) in records {
            if let Err(error) = self.hlc.observe(record.latest(), now.wall_ms) {
                self.counters.skew_refused += 1;
                tracing::warn!(peer = %from, %error, "refused a change");
                refused += 1;
                continue;
            }
            if record.is_only_use()
                && self
                    .table
                    .get(&key)
                    .is_none_or(|known| known.life() < record.life())
            {
                continue; // of a session that is not here; should there be one, it comes as a whole
            }
            if self.is_premature_end(&key, &record, now) {
                self.counters.ends_refused += 1;
                tracing::debug!(peer = %from, "says of a session that it is idle which is not");
                if let Some(ended) = record.past.change(|past| past.ended.take()) {
                    self.use_again(from, &key, ended, now);
                }
            }
            self.join(&key, &record, now);
            self.contradict(from, &key, &record);
        }
        self.events.replicated = false;
        refused
    }

    /// Nobody waits for `node` any more.
    pub(super) fn forget_peer_waits(&mut self, node: &NodeId) {
        for (waiter, copies) in self.acks.gone(node) {
            self.outputs.push(Output::Copies(waiter, copies));
        }
    }

    /// What waits for `node` is not kept any longer. A link that is still up stays one.
    pub(super) fn forget_peer(&mut self, node: &NodeId, now: Now) {
        if let Some(mut peer) = self.remove_peer(node) {
            if peer.is_linked() {
                self.note_peer(node, now);
            }
            if let Some(fresh) = self.peers.get_mut(node) {
                fresh.announced = peer.announced;
                // What was said and asked on a link that is still up was not lost with anything.
                fresh.control.append(&mut peer.control);
                fresh.wanted.append(&mut peer.wanted);
                for (fresh, old) in fresh.links.iter_mut().zip(&peer.links) {
                    fresh.up = old.up;
                }
            }
        }
        self.forget_peer_waits(node);
    }
}
