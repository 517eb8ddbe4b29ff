//! The other nodes as places to send to: links that come and go, messages that arrive.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{Engine, Output};
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{BATCH_BYTES, CONTROL_QUEUE_MAX, WORKERS_MAX};
use crate::membership::Identity;
use crate::replication::digest::Buckets;
use crate::replication::message::{Announce, Message};
use crate::replication::outbox::{Outbox, Slot, first_slot};
use crate::replication::transfer::Pull;
use crate::session::Record;

/// Numbers the links other nodes make to this one. A node is listened to on the latest it has spoken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Listening(u64);

/// What was heard of a node, and is to be acknowledged to it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    on: Listening,
    slot: Slot,
    refused: Slot,
}

/// One other node, as a place to send to.
#[derive(Debug)]
pub struct Peer {
    linked: bool,
    /// Whether it has told what it is since its link came up.
    pub(super) announced: bool,
    control: VecDeque<Message>,
    /// The chunk it asked for last. An unanswered older request is superseded: it has one transfer at a time.
    pub(super) wanted: Option<Pull>,
    /// Up to this slot it refused something.
    refused: Slot,
    /// Whether it is to be told what was received of it.
    ack_due: bool,
    pub(super) outbox: Outbox,
    /// Whether tables were compared since its link came up.
    pub(super) compared: bool,
    /// Buckets that differed when tables were last compared.
    pub(super) differed: Buckets,
}

impl Peer {
    pub(super) fn new(queue_bytes: usize, wall_ms: u64) -> Self {
        Self {
            linked: false,
            announced: false,
            control: VecDeque::new(),
            wanted: None,
            refused: 0,
            ack_due: false,
            outbox: Outbox::new(queue_bytes, first_slot(wall_ms)),
            compared: false,
            differed: Buckets::NONE,
        }
    }

    /// Whether the link to it is up.
    #[must_use]
    pub const fn is_linked(&self) -> bool {
        self.linked
    }

    /// Whether anything waits to be sent to it.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.control.is_empty() || self.ack_due || self.wanted.is_some() || self.outbox.has_waiting()
    }

    /// Whether it has acknowledged `slot` without refusing anything up to it.
    pub(super) const fn has_applied(&self, slot: Slot) -> bool {
        slot <= self.outbox.acked() && slot > self.refused
    }

    /// What it still has to be told.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

impl Engine {
    /// The link to the node that says it is `identity` is up.
    pub fn link_up(&mut self, node: &NodeId, identity: Identity, now: Now) {
        let later = self
            .roster
            .get(node)
            .is_some_and(|known| known.identity.incarnation < identity.incarnation);
        if later {
            // Another run of it, with an empty memory: what the old one was still to be told it will ask for.
            self.forget_peer(node, now);
            self.distrust_workers(node);
        }
        let Some(member) = self.roster.note(node, identity.clone(), now.mono) else {
            self.outputs.push(Output::Close(node.clone()));
            return;
        };
        member.linked = true;
        member.refusal_counts = true;
        let peer = self
            .peers
            .entry(node.clone())
            .or_insert_with(|| Peer::new(self.config.queue_bytes, now.wall_ms));
        peer.linked = true;
        peer.announced &= !later;
        peer.ack_due = self.heard.contains_key(node);
        peer.control.clear();
        peer.outbox.rewind();
        self.outputs.push(Output::Wake(node.clone()));
        self.say(node, Message::Announce(self.announcement()));
        let todo = self.swim.meet(identity);
        self.carry_out(todo, now);
        self.tell_lost_touches(node);
        self.say_digest(node);
        self.refresh_table();
    }

    /// The link to `node` is down. `refused`: its address refuses connections, so its process is gone.
    pub fn link_down(&mut self, node: &NodeId, refused: bool, now: Now) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.linked = false;
            peer.compared = false;
            peer.control.clear();
            peer.wanted = None;
        }
        let Some(member) = self.roster.get_mut(node) else {
            return;
        };
        member.linked = false;
        // Only the first refusal after a link: if the process lives on, behind something that refuses for it, it
        // says so, and then it is silence that counts.
        if refused && member.active && std::mem::take(&mut member.refusal_counts) {
            let identity = member.identity.clone();
            tracing::warn!(peer = %node, "its address refuses connections: the process is gone");
            let todo = self.swim.declare_down(&identity);
            self.carry_out(todo, now);
        }
        if !self.roster.get(node).is_some_and(|member| member.active) {
            self.peers.remove(node);
        }
        self.progress_join(now);
        self.refresh_table();
    }

    /// Nothing answers at `addr`. See [`Self::link_down`].
    pub fn unreachable(&mut self, addr: SocketAddr, refused: bool, now: Now) {
        let node = self
            .roster
            .iter()
            .find(|(_, m)| m.identity.addr == addr)
            .map(|(node, _)| node.clone());
        if let Some(node) = node.filter(|node| !self.peers.get(node).is_some_and(Peer::is_linked)) {
            self.link_down(&node, refused, now);
        }
    }

    /// `node` has made a link to this node and says it listens at `addr`: one is made back. Once it speaks on the
    /// new link, whatever still arrives on an earlier one is of the past, and not heard.
    pub fn hello_heard(&mut self, node: &NodeId, addr: SocketAddr) -> Listening {
        if self.peers.get(node).is_some_and(Peer::is_linked) {
            // What it heard on its earlier link may be gone with it.
            self.say(node, Message::Announce(self.announcement()));
        } else {
            self.outputs.push(Output::Dial(addr));
        }
        self.next_listening.0 += 1;
        self.next_listening
    }

    /// Queues a control message. A peer that takes none is cut off rather than remembered without end.
    pub(super) fn say(&mut self, node: &NodeId, message: Message) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        if !peer.linked {
            return;
        }
        if peer.control.len() >= CONTROL_QUEUE_MAX {
            tracing::warn!(peer = %node, "takes no messages; its link is closed");
            peer.control.clear();
            self.outputs.push(Output::Close(node.clone()));
            return;
        }
        peer.control.push_back(message);
        self.outputs.push(Output::Wake(node.clone()));
    }

    /// Tells every peer what this node is.
    pub(super) fn announce(&mut self) {
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        for node in nodes {
            self.say(&node, Message::Announce(self.announcement()));
        }
    }

    /// What to send to `node` next: everything short, then one chunk it asked for, then one batch of changes.
    /// Empty when nothing waits or its link is down.
    pub fn next_messages(&mut self, node: &NodeId) -> Vec<Message> {
        let Some(peer) = self.peers.get_mut(node) else {
            return Vec::new();
        };
        if !peer.linked {
            return Vec::new();
        }
        let mut messages: Vec<_> = peer.control.drain(..).collect();
        if std::mem::take(&mut peer.ack_due)
            && let Some(heard) = self.heard.get(node)
        {
            let (slot, refused) = (heard.slot, heard.refused);
            messages.push(Message::Ack { slot, refused });
        }
        if let Some(pull) = peer.wanted.take() {
            messages.push(self.chunk(node, &pull));
        }
        let Some(peer) = self.peers.get_mut(node) else {
            return messages;
        };
        if let Some((slot, changes)) = peer.outbox.batch(BATCH_BYTES) {
            self.counters.deltas_sent += changes.len() as u64;
            messages.push(Message::Deltas { slot, changes });
        }
        messages
    }

    /// A message of `node` arrived on the link `on`. Says whether that link is still the one to listen to.
    pub fn hear(&mut self, node: &NodeId, on: Listening, message: Message, now: Now) -> bool {
        let heard = self.heard.entry(node.clone()).or_default();
        if on < heard.on {
            return false;
        }
        heard.on = on;
        match message {
            Message::Gossip(bytes) => {
                let todo = self.swim.hear(&bytes);
                self.carry_out(todo, now);
            }
            Message::Announce(announce) => self.hear_announce(node, announce, now),
            Message::Deltas { slot, changes } => {
                self.counters.deltas_received += changes.len() as u64;
                let refused = self.apply(node, changes, now);
                let heard = self.heard.entry(node.clone()).or_default();
                heard.refused = match refused {
                    0 if slot >= heard.slot => heard.refused,
                    0 => 0, // another run of it, which numbers anew
                    _ => slot,
                };
                heard.slot = slot;
                if let Some(peer) = self.peers.get_mut(node) {
                    peer.ack_due = true;
                    self.outputs.push(Output::Wake(node.clone()));
                }
            }
            Message::Ack { slot, refused } => {
                if let Some(peer) = self.peers.get_mut(node) {
                    if refused > peer.outbox.acked() {
                        peer.refused = refused;
                        self.acks.dropped(node, refused);
                    }
                    peer.outbox.acknowledge(slot);
                    let done = self.acks.acknowledged(node, peer.outbox.acked());
                    self.outputs.extend(
                        done.into_iter()
                            .map(|(waiter, copies)| Output::Copies(waiter, copies)),
                    );
                }
            }
            Message::Pull(pull) => {
                if let Some(peer) = self.peers.get_mut(node) {
                    peer.wanted = Some(pull);
                    self.outputs.push(Output::Wake(node.clone()));
                }
            }
            Message::Chunk {
                request,
                records,
                next,
            } => {
                self.hear_chunk(node, request, records, next, now);
            }
            Message::Digest(digests) => self.hear_digest(node, &digests, now),
            Message::Compare => self.say_digest(node),
        }
        true
    }

    fn hear_announce(&mut self, node: &NodeId, mut announce: Announce, now: Now) {
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
            self.say_digest(node);
        }
        self.progress_join(now);
        self.refresh_table();
    }

    /// Joins another node's records. A record with a stamp from the far future is refused whole; says how many were.
    pub(super) fn apply(&mut self, from: &NodeId, records: Vec<(SessionKey, Record)>, now: Now) -> usize {
        let mut refused = 0;
        for (key, record) in records {
            if let Err(error) = self.hlc.observe(record.latest(), now.wall_ms) {
                self.counters.skew_refused += 1;
                tracing::warn!(peer = %from, %error, "refused a change");
                refused += 1;
                continue;
            }
            self.join(&key, &record, now);
            self.contradict(from, &key, &record);
        }
        refused
    }

    /// Whether `node` is linked from another address than `addr`: two processes under one name.
    #[must_use]
    pub fn is_elsewhere(&self, node: &NodeId, addr: SocketAddr) -> Option<SocketAddr> {
        let member = self.roster.get(node).filter(|member| member.linked)?;
        (member.identity.addr != addr).then_some(member.identity.addr)
    }

    /// Nobody waits for `node` any more.
    pub(super) fn forget_peer_waits(&mut self, node: &NodeId) {
        for (waiter, copies) in self.acks.gone(node) {
            self.outputs.push(Output::Copies(waiter, copies));
        }
    }

    /// What waits for `node` is not kept any longer. A link that is still up stays one.
    pub(super) fn forget_peer(&mut self, node: &NodeId, now: Now) {
        if let Some(peer) = self.peers.remove(node)
            && peer.linked
        {
            let mut fresh = Peer::new(self.config.queue_bytes, now.wall_ms);
            fresh.linked = true;
            fresh.announced = peer.announced;
            self.peers.insert(node.clone(), fresh);
        }
        self.forget_peer_waits(node);
    }
}
