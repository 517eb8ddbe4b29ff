//! Links to other nodes that come up and go down, and those that other nodes make to this one.
//!
//! What goes over them is [`super`]'s, and what they say of the member at the other end is decided by
//! [`crate::engine::members`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::changed::Changed;
use crate::engine::peers::InboundLink;
use crate::engine::peers::peer::Peer;
use crate::engine::sessions::touches::SESSIONS_PER_TICK;
use crate::engine::transfer::inquiry::Answer;
use crate::engine::{Engine, Output};
use crate::membership::Identity;
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

impl Engine {
    /// The link of `stream` to the node that says it is `identity` is up. Stream 0 comes first; another stream's link to a
    /// node without it is to be closed.
    pub fn link_up(&mut self, node: &NodeId, identity: Identity, stream: StreamId, now: Now) {
        self.begin_link(node, identity, stream, now);
        self.settle(now);
    }

    fn begin_link(&mut self, node: &NodeId, identity: Identity, stream: StreamId, now: Now) {
        self.note_time(now);
        if stream != CONTROL {
            self.stream_up(node, stream);
            return;
        }
        let later = self.members.is_later(node, identity.incarnation);
        if later {
            // What the process before was still to be told, the later one will ask for.
            self.member_replaced(node, now);
        }
        if let Err(error) = self.members.link_up(node, identity.clone(), now) {
            tracing::error!(peer = %node, %error, "closes the link to a node that it cannot track");
            self.outputs.push(Output::Close(node.clone(), CONTROL));
            return;
        }
        self.drain_members(now);
        self.changed.note(Changed::MEMBERS);
        let answer = Answer::Node(node.clone());
        self.joining.inquiry.on_answer(identity.addr, Some(answer));
        self.note_peer(node, now);
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        peer.announced &= !later;
        peer.control.clear();
        for inbound in self
            .inbound
            .get_mut(node)
            .into_iter()
            .flat_map(BTreeMap::values_mut)
        {
            inbound.ack_due = true;
        }
        self.stream_up(node, CONTROL);
        self.announce_to(node);
        self.members.meet(node, identity, now);
        self.drain_members(now);
        self.send_missed_touches(node, SESSIONS_PER_TICK);
        self.send_summary(node);
    }

    /// Sends again on the new link what the last one left without an answer.
    fn stream_up(&mut self, node: &NodeId, stream: StreamId) {
        let peer = self.peers.get_mut(node);
        let peer = peer.filter(|peer| stream == CONTROL || peer.is_linked());
        if let Some(peer) = peer
            && let Some(link) = peer.links.get_mut(stream.index())
        {
            link.up = true;
            if let Some(outbox) = peer.outboxes.stream_mut(stream) {
                outbox.rewind();
            }
            self.outputs.push(Output::Wake(node.clone(), stream));
        } else {
            self.outputs.push(Output::Close(node.clone(), stream));
        }
    }

    /// The link of `stream` to `node` is down. `refused`: its address refuses connections, so its process has most
    /// likely ended. With
    /// stream 0 all others count as down as well, and are to be closed.
    pub fn link_down(&mut self, node: &NodeId, stream: StreamId, refused: bool, now: Now) {
        self.end_link(node, stream, refused, now);
        self.settle(now);
    }

    fn end_link(&mut self, node: &NodeId, stream: StreamId, refused: bool, now: Now) {
        if let Some(peer) = self.peers.get_mut(node) {
            if stream != CONTROL {
                if let Some(link) = peer.links.get_mut(stream.index()) {
                    link.up = false;
                }
                self.outputs.push(Output::Wake(node.clone(), peer.chunk_stream()));
                return;
            }
            for (index, link) in peer.links.iter_mut().enumerate() {
                let other = StreamId::at_index(index);
                if std::mem::replace(&mut link.up, false) && other != CONTROL {
                    self.outputs.push(Output::Close(node.clone(), other));
                }
            }
            peer.control.clear();
            peer.wanted.clear();
            self.transfers.ask_again(node);
        }
        if stream != CONTROL {
            return;
        }
        if self.roster().get(node).is_none() {
            return;
        }
        self.members.link_down(node, refused, now);
        self.drain_members(now);
        self.changed.note(Changed::MEMBERS);
        self.joining.lists.forget(node);
        if !self.roster().get(node).is_some_and(|member| member.active) {
            let former = self.remove_peer(node);
            self.discard(former);
        }
    }

    /// Nothing answers at `addr`. See [`Self::link_down`].
    pub fn unreachable(&mut self, addr: SocketAddr, refused: bool, now: Now) {
        let node = self
            .roster()
            .iter()
            .find(|(_, m)| m.identity.addr == addr)
            .map(|(node, _)| node.clone());
        self.joining
            .inquiry
            .on_answer(addr, refused.then_some(Answer::Refused));
        if let Some(node) = node.filter(|node| !self.peers.get(node).is_some_and(Peer::is_linked)) {
            self.link_down(&node, CONTROL, refused, now);
        }
    }

    /// `node` has made a link to this node, its `stream`, and says it listens at `addr`: one is made back. Once it speaks
    /// on the new link, whatever still arrives on an earlier one of that stream is of the past, and not heard.
    pub fn on_hello(&mut self, node: &NodeId, stream: StreamId, addr: SocketAddr) -> InboundLink {
        // Stream 0 is what a node is linked by.
        if stream == CONTROL {
            self.note_dialler(node, addr);
            if self.peers.get(node).is_some_and(Peer::is_linked) {
                // What it heard on its earlier link may be gone with it.
                self.announce_to(node);
            } else {
                self.outputs.push(Output::DialBack(addr));
            }
        }
        self.transfers.ask_again(node);
        InboundLink {
            stream,
            number: self.ids.next_link(),
        }
    }
}
