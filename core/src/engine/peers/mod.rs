//! The other nodes as places to send to: what waits for each, and messages that arrive. [`links`] come and go.

pub(in crate::engine) mod intake;
mod links;
pub(in crate::engine) mod peer;
pub(in crate::engine) mod repair;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{BATCH_BYTES, CONTROL_QUEUE_MAX, INBOUND_MAX, WORKERS_MAX};
use crate::engine::begin_again::Cause;
use crate::engine::changed::Changed;
use crate::engine::members::{Announced, OwnStatus};
use crate::engine::peers::intake::Refusals;
use crate::engine::peers::peer::Peer;
use crate::engine::{Discarded, Engine, Output};
use crate::replication::acks::Acks;
use crate::replication::message::{self, Announce, Message};
use crate::replication::position::{Sequence, StreamId};
use crate::replication::streams::CONTROL;
use crate::session::Record;

/// A link another node made to this one. Of each stream, a node is listened to on the latest it has spoken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundLink {
    stream: StreamId,
    number: u64,
}

/// Changes for `node` were dropped: nobody counts them as copies, and their memory is freed later.
pub(in crate::engine) fn note_overflow(
    acks: &mut Acks,
    outputs: &mut Vec<Output>,
    node: &NodeId,
    peer: &mut Peer,
) {
    acks.dropped_all(node);
    let changes = peer.outboxes.take_dropped();
    outputs.push(Output::Discard(Discarded::Changes(changes)));
}

/// A batch of changes that is being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentBatch {
    /// What acknowledges it.
    pub sequence: Sequence,
    /// Whether more changes wait than one batch carries.
    pub more: bool,
}

impl Engine {
    /// Makes sure something can be sent to `node`.
    pub(in crate::engine) fn note_peer(&mut self, node: &NodeId, now: Now) {
        if !self.peers.contains_key(node) {
            let first = self.ids.first_sequence(Sequence::first_at(now.wall_ms));
            let peer = Peer::new(self.config.links, self.config.queue_bytes, first);
            self.peers.insert(node.clone(), peer);
        }
    }

    /// Forgets what was to be sent to `node`: repair brings it, and touches are sent again. Its sequences are
    /// never given again.
    fn remove_peer(&mut self, node: &NodeId) -> Option<Peer> {
        let peer = self.peers.remove(node)?;
        self.ids.retire_sequences(peer.outboxes.next());
        self.note_missed_touches(node, peer.outboxes.acknowledged_until_ms());
        Some(peer)
    }

    /// What waited for a peer may be a lot; the caller frees it.
    fn discard(&mut self, former: Option<Peer>) {
        let former = former.map(|peer| Output::Discard(Discarded::Peer(Box::new(peer))));
        self.outputs.extend(former);
    }

    /// Queues a control message. A peer that takes none is cut off rather than remembered without end.
    pub(in crate::engine) fn send(&mut self, node: &NodeId, message: Message) {
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
    pub(in crate::engine) fn announce(&mut self) {
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        for node in nodes {
            self.announce_to(&node);
        }
    }

    /// What to send to `node` next on its link of `stream`, before [`Self::next_changes`]: everything short, then one
    /// chunk it asked for. Empty when nothing waits or the link is down.
    pub fn next_messages(&mut self, node: &NodeId, stream: StreamId) -> Vec<Message> {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.is_up(stream)) else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        if stream == CONTROL {
            messages.extend(peer.control.drain(..));
            let inbound = self.inbound.get_mut(node).into_iter().flatten();
            messages.extend(inbound.filter_map(|(stream, inbound)| inbound.take_ack(*stream)));
        }
        if stream == peer.chunk_stream()
            && let Some(pull) = peer.wanted.pop_front()
        {
            messages.push(self.chunk(node, &pull));
        }
        messages
    }

    /// The next batch of changes for `node` on its link of `stream`: appends it to `into`, encoded as
    /// [`Message::Deltas`]. They are many, so they are encoded in place.
    pub fn next_changes(&mut self, node: &NodeId, stream: StreamId, into: &mut Vec<u8>) -> Option<SentBatch> {
        let peer = self.peers.get_mut(node).filter(|peer| peer.is_up(stream))?;
        let outbox = peer.outboxes.stream_mut(stream)?;
        let (sequence, changes) = outbox.batch(BATCH_BYTES)?;
        let count = changes.len() as u64;
        if let Err(error) = message::encode_deltas(sequence, changes, into) {
            // Never so by the bounds of a batch. Were they wrong, nobody may count these changes as sent.
            tracing::error!(peer = %node, %error, "changes cannot be sent; they are dropped and repaired");
            peer.outboxes.drop_all();
            note_overflow(&mut self.acks, &mut self.outputs, node, peer);
            return None;
        }
        let more = outbox.has_waiting();
        self.counters.deltas_sent += count;
        Some(SentBatch { sequence, more })
    }

    /// A message of `node` arrived on the link `on`. Says whether that link is still the one to listen to.
    pub fn on_message(&mut self, node: &NodeId, on: InboundLink, message: Message, now: Now) -> bool {
        self.note_time(now);
        self.make_inbound_room(node);
        self.intake.reset();
        let is_current = self.dispatch(node, on, message, now);
        self.intake.reset();
        self.settle(now);
        is_current
    }

    /// Which change of a message is being applied, counted from 0. Asked after a panic, to know what caused it.
    #[must_use]
    pub const fn change_in_hand(&self) -> Option<usize> {
        self.intake.change_in_hand()
    }

    fn dispatch(&mut self, node: &NodeId, on: InboundLink, message: Message, now: Now) -> bool {
        let inbound = self
            .inbound
            .entry(node.clone())
            .or_default()
            .entry(on.stream)
            .or_default();
        if on.number < inbound.on {
            return false;
        }
        inbound.on = on.number;
        self.members.note_heard(node, now);
        if message.changes_sessions() && !self.members.trusts(node, now) {
            return false; // it is sent again once the node is trusted
        }
        match message {
            Message::Gossip(bytes) => {
                self.members.on_message(node, &bytes, now);
                self.drain_members(now);
            }
            Message::Announce(announce) => self.on_announce(node, announce, now),
            Message::Deltas { sequence, changes } => {
                self.counters.deltas_received += changes.len() as u64;
                let refused = self.apply_changes(node, changes, now);
                let inbound = self
                    .inbound
                    .entry(node.clone())
                    .or_default()
                    .entry(on.stream)
                    .or_default();
                inbound.refused = match refused.total() {
                    0 if sequence >= inbound.sequence => inbound.refused,
                    0 => Sequence::ZERO, // another incarnation of it, which numbers anew
                    _ => sequence,
                };
                inbound.sequence = sequence;
                inbound.ack_due = true;
                self.outputs.push(Output::Wake(node.clone(), CONTROL));
            }
            Message::Ack {
                stream,
                sequence,
                refused,
            } => self.on_ack(node, stream, sequence, refused),
            Message::Pull(pull) => self.on_pull(node, pull, now),
            Message::Busy { request } => self.on_busy(node, request, now),
            Message::Chunk {
                request,
                records,
                next,
            } => {
                self.on_chunk(node, request, records, next, now);
            }
            Message::Digest(digests) => self.on_digest(node, &digests, now),
            Message::Summary(summary) => {
                self.meet_table(node);
                self.on_summary(node, summary);
            }
            Message::DigestRequest => self.send_digest(node),
            Message::HandoffOffer { request, sessions } => self.on_offer(node, request, sessions, now),
            Message::HandoffLacking { request, sessions } => self.on_lacking(node, request, sessions, now),
            Message::Fetch { request, key } => self.on_fetch(node, request, &key, now),
            fetched @ Message::Fetched { .. } => self.on_fetched(node, fetched, now),
            Message::Propose {
                request,
                key,
                known,
                proposal,
            } => self.on_propose(node, request, key, known, proposal, now),
            Message::Decided {
                request,
                key,
                verdict,
                record,
            } => self.on_decided(node, request, key, verdict, record, now),
            Message::Quorum {
                memory,
                body,
                records,
            } => self.on_quorum(node, memory, body, records, now),
        }
        true
    }

    /// Makes room for what `node` sends, if it is the first time: what came from nodes that are no members goes.
    fn make_inbound_room(&mut self, node: &NodeId) {
        if self.inbound.len() >= INBOUND_MAX && !self.inbound.contains_key(node) {
            let roster = self.members.roster();
            self.inbound.retain(|node, _| roster.get(node).is_some());
        }
    }

    /// `node` has received `stream` up to `sequence`, and refused something up to `refused`.
    fn on_ack(&mut self, node: &NodeId, stream: StreamId, sequence: Sequence, refused: Sequence) {
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let (Some(outbox), Some(link)) = (
            peer.outboxes.stream_mut(stream),
            peer.links.get_mut(stream.index()),
        ) else {
            return; // a stream of an earlier incarnation of this node
        };
        // A sequence that was never given is one of an earlier incarnation, whose clock was ahead.
        if refused > outbox.acked() && refused < outbox.next() {
            link.refused = refused;
            self.acks.dropped(node, stream, refused);
        }
        // Includes what was dropped without a refusal.
        self.acks.dropped(node, stream, outbox.floor().previous());
        outbox.acknowledge(sequence);
        let done = self.acks.acknowledged(node, stream, outbox.acked());
        let done = done.into_iter();
        self.outputs
            .extend(done.map(|(waiter, copies)| Output::Copies(waiter, copies)));
    }

    fn on_announce(&mut self, node: &NodeId, mut announce: Announce, now: Now) {
        self.joining.inquiry.on_announced(node, announce.ready, now.mono);
        let own = OwnStatus {
            phase: &self.phase,
            has_sessions: self.table.iter().next().is_some(),
        };
        let announced = self.members.on_announce(node, &announce, own, now);
        self.drain_members(now);
        let became_ready = match announced {
            Announced::BeginAgain => {
                self.counters.started_over += 1;
                self.begin_again(Cause::Away, now);
                return;
            }
            Announced::Unknown => return,
            Announced::Recorded { became_ready } => became_ready,
        };
        if announce.workers.len() > WORKERS_MAX {
            tracing::warn!(peer = %node, workers = announce.workers.len(), "declares too many workers; the first are taken");
            announce.workers.truncate(WORKERS_MAX);
        }
        self.workers.announce(node, announce.workers, now.mono);
        self.changed.note(Changed::MEMBERS);
        self.changed.note(Changed::WORKERS);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.announced = true;
        }
        if announce.leaving {
            self.forget_peer_waits(node);
        }
        if announce.ready {
            self.meet_table(node);
        }
        if became_ready {
            self.send_summary(node);
        }
    }

    /// Joins another node's records, except those that are refused whole: with a stamp too far ahead, or quarantined.
    pub(in crate::engine) fn apply(
        &mut self,
        from: &NodeId,
        records: Vec<(SessionKey, Record)>,
        now: Now,
    ) -> Refusals {
        self.table.prefetch(records.iter().map(|(key, _)| key));
        self.events.replicated = true;
        let mut refused = Refusals::default();
        for (key, record) in records {
            self.apply_one(from, key, record, &mut refused, now);
        }
        self.after_apply(refused, now)
    }

    /// The same, for deltas: those of a session of which nothing is here, beside one that has its id, are refused too.
    /// Who that session is comes with the whole of it.
    pub(in crate::engine) fn apply_deltas(
        &mut self,
        from: &NodeId,
        changes: Vec<(SessionKey, Record)>,
        now: Now,
    ) -> Refusals {
        self.table.prefetch(changes.iter().map(|(key, _)| key));
        self.events.replicated = true;
        let mut refused = Refusals::default();
        for (key, change) in changes {
            if self
                .table
                .get(&key)
                .is_some_and(|known| change.is_stray_beside(known))
            {
                tracing::debug!(peer = %from, ?key, "refused a change of a session that is not here");
                refused.strays += 1;
            } else {
                self.apply_one(from, key, change, &mut refused, now);
            }
        }
        self.after_apply(refused, now)
    }

    fn after_apply(&mut self, refused: Refusals, now: Now) -> Refusals {
        self.events.replicated = false;
        if refused.skewed > 0 {
            self.drain_members(now);
        }
        refused
    }

    fn apply_one(
        &mut self,
        from: &NodeId,
        key: SessionKey,
        mut record: Record,
        refused: &mut Refusals,
        now: Now,
    ) {
        if !self.intake.admits(&key) {
            self.counters.quarantined += 1;
            tracing::error!(peer = %from, ?key, "refused a change of a quarantined session");
            refused.quarantined += 1;
            return;
        }
        if let Err(error) = self.hlc.observe(record.latest(), self.members.time_ms(now)) {
            self.counters.skew_refused += 1;
            tracing::debug!(peer = %from, %error, "refused a change");
            self.members.refuse_stamp(from, error.ahead_ms, now);
            refused.skewed += 1;
            return;
        }
        if record.is_touch_only()
            && self.table.get(&key).is_none_or(|known| {
                let is_over = |life| known.lifecycle.is_over(life);
                known.life() < record.life() && !record.life().is_some_and(is_over)
            })
        {
            return; // of a session that is not here; should there be one, it comes as a whole
        }
        if self.is_premature_expiry(&key, &record, now) {
            self.counters.expiries_refused += 1;
            tracing::debug!(peer = %from, "says of a session that it is idle which is not");
            if let Some(ended) = record.lifecycle.change(|lifecycle| lifecycle.expired.take()) {
                self.refute_expiry(from, &key, ended, now);
            }
        }
        self.join(&key, &record, now);
        self.resend_refuted(from, &key, &record);
    }

    /// Nobody waits for `node` any more.
    pub(in crate::engine) fn forget_peer_waits(&mut self, node: &NodeId) {
        for (waiter, copies) in self.acks.gone(node) {
            self.outputs.push(Output::Copies(waiter, copies));
        }
    }

    /// What waits for `node` is not kept any longer. A link that is still up stays one.
    pub(in crate::engine) fn forget_peer(&mut self, node: &NodeId, now: Now) {
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
            self.discard(Some(peer));
        }
        self.forget_peer_waits(node);
    }
}
