//! The engine's side of membership: calls that are passed on to [`Members`], and the one place where its outputs take
//! effect on links, sessions, workers and transfers.
//!
//! Who is a member, suspected or refused is decided by [`super::members`].

use std::net::SocketAddr;

use super::changed::Changed;
use super::members::{Members, MembersOutput};
use super::{Engine, Output};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::membership::{Hint, Identity, Roster, Timer};
use crate::replication::message::Message;
use crate::replication::streams::CONTROL;
use crate::session::Stamp;

impl Engine {
    /// Carries out what membership asks for, in its order. Derived state is recomputed afterwards by [`Engine::settle`].
    pub(in crate::engine) fn drain_members(&mut self, now: Now) {
        for output in self.members.take_outputs() {
            match output {
                MembersOutput::Send(node, message) => self.send(&node, Message::Gossip(message.encode())),
                MembersOutput::Announce(node) => self.announce_to(&node),
                MembersOutput::AnnounceToAll => self.announce(),
                MembersOutput::Dial(addr) => self.outputs.push(Output::Dial(addr)),
                MembersOutput::CloseLink(node) => self.outputs.push(Output::Close(node, CONTROL)),
                MembersOutput::Timer(after, timer) => self.outputs.push(Output::Timer(after, timer)),
                MembersOutput::Up(node) => self.note_peer(&node, now),
                MembersOutput::Down { node, .. } => self.member_down(&node, now),
                MembersOutput::Replaced(node) => self.member_replaced(&node, now),
                MembersOutput::Forgotten(node) => self.member_forgotten(&node),
                MembersOutput::Listed(node, members) => self.on_member_list(&node, members),
                MembersOutput::AnotherTime => {
                    self.joining.another_time |= self.table.iter().next().is_some();
                }
                MembersOutput::Changed => self.changed.note(Changed::MEMBERS),
            }
        }
    }

    /// Time passes, as every call notes that may be the first after this process stood still.
    pub(in crate::engine) fn note_time(&mut self, now: Now) {
        self.members.note_time(now);
        self.drain_members(now);
    }

    /// `node` is no member any more: nothing is kept for it, its workers are down, and what it was sending is asked of
    /// others.
    fn member_down(&mut self, node: &NodeId, now: Now) {
        self.member_replaced(node, now);
        if self.transfers.lost(node) {
            self.check_again(node);
        }
        self.joining.lists.forget(node);
        self.miss_no_more(node);
        self.start_transfers(now);
    }

    /// Another process is `node` now: nothing is kept for the one before, and what that one said of its workers does
    /// not hold any more.
    pub(in crate::engine) fn member_replaced(&mut self, node: &NodeId, now: Now) {
        self.forget_peer(node, now);
        self.distrust_workers(node);
    }

    /// `node` is gone from the roster: nothing else is kept of it either. Its workers go by
    /// [`Engine::forget_workers`].
    fn member_forgotten(&mut self, node: &NodeId) {
        self.inbound.remove(node);
    }

    /// Announces to `node` what this node is.
    pub(in crate::engine) fn announce_to(&mut self, node: &NodeId) {
        let workers = self.workers.own().to_vec();
        let announcement = self.members.announcement_to(node, &self.phase, workers);
        self.send(node, Message::Announce(announcement));
    }

    /// Membership of this node.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The other members, those that are gone included.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        self.members.roster()
    }

    /// This node's present identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.members.identity()
    }

    /// A timer that was asked for is due.
    pub fn fire(&mut self, timer: Timer, now: Now) {
        self.members.fire(timer, now);
        self.drain_members(now);
        self.settle(now);
    }

    /// A node has heard of the incarnation `known` of this node. Says whether this node had to take a later one.
    pub fn outpace(&mut self, known: u64, now: Now) -> bool {
        let outpaced = self.members.outpace(known, now);
        self.drain_members(now);
        self.settle(now);
        outpaced
    }

    /// The latest incarnation of `node` this node has heard of; 0 for none.
    #[must_use]
    pub fn latest_incarnation(&self, node: &NodeId) -> u64 {
        self.members.latest_incarnation(node)
    }

    /// The addresses links should be kept to, beside the seeds.
    #[must_use]
    pub fn wanted_links(&self, now: Now) -> Vec<SocketAddr> {
        let mut addrs = self.members.wanted_links(now);
        addrs.extend(self.asked_while_joining());
        addrs
    }

    /// A hello was refused because this node tracks as many members as it can. See [`Members::admits`].
    pub const fn note_member_refused(&mut self) {
        self.counters.members_refused += 1;
    }

    /// Where `node` is linked, if that is another address than `addr`. See [`Members::linked_elsewhere`].
    #[must_use]
    pub fn linked_elsewhere(&self, node: &NodeId, addr: SocketAddr) -> Option<SocketAddr> {
        self.members.linked_elsewhere(node, addr)
    }

    /// The process `node` is linked to does not answer any more, and another one has its id: the link is given up.
    pub fn give_up_link(&mut self, node: &NodeId, now: Now) {
        self.members.give_up_link(node);
        self.drain_members(now);
        self.link_down(node, CONTROL, false, now);
    }

    /// The process at `newcomer` was refused here, because the one at `holder` is alive and has its id.
    pub fn duplicate_refused(&mut self, node: &NodeId, holder: SocketAddr, newcomer: SocketAddr, now: Now) {
        self.counters.duplicate_ids += 1;
        self.members.duplicate_refused(node, holder, newcomer, now);
    }

    /// `by` refused this node: the process at `holder` has its id.
    pub fn id_taken(&mut self, by: &NodeId, holder: SocketAddr, now: Now) {
        self.members.id_taken(by, holder, now);
    }

    /// Why this node is refused, in a sentence; `None` when it is not.
    #[must_use]
    pub fn duplicate_problem(&self) -> Option<String> {
        self.members.duplicate_problem()
    }

    /// The hint this node sends in the domain `domain`. None while it leaves.
    #[must_use]
    pub fn hint(&self, domain: &str, now: Now) -> Option<Hint> {
        self.members.hint(domain, now)
    }

    /// Whether `hint` is worth verifying. See [`Members::is_hint_worth`].
    #[must_use]
    pub fn is_hint_worth(&self, hint: &Hint, domain: &str, now: Now) -> bool {
        self.members.is_hint_worth(hint, domain, now)
    }

    /// The signature of a hint proved genuine: its address is dialled, unless it was a moment ago.
    pub fn follow_hint(&mut self, hint: &Hint, now: Now) {
        self.note_hint(hint.addr);
        self.members.follow_hint(hint, now);
        self.drain_members(now);
    }

    /// How many milliseconds `node`'s wall clock is ahead of this one, where it was measured.
    #[must_use]
    pub fn clock_drift_ms(&self, node: &NodeId) -> Option<i64> {
        self.members.clock_drift_ms(node)
    }

    /// The cluster's time, in milliseconds since 1970: changes are stamped with it and idle sessions are counted by it.
    #[must_use]
    pub fn time_ms(&self, now: Now) -> u64 {
        self.members.time_ms(now)
    }

    /// A stamp for a change that is made now.
    pub(in crate::engine) fn stamp(&mut self, now: Now) -> Stamp {
        self.hlc.stamp(self.members.time_ms(now))
    }

    /// Why this node's wall clock is to be set, in a sentence; `None` when it is right. What the node does is not
    /// affected: it keeps the cluster's time.
    #[must_use]
    pub fn wall_clock_problem(&self) -> Option<String> {
        let ahead_ms = self.members.wall_clock_error_ms()?;
        let (by, way) = (
            ahead_ms.unsigned_abs(),
            if ahead_ms > 0 { "ahead of" } else { "behind" },
        );
        Some(format!(
            "this node's clock is {by} ms {way} the time of the cluster, more than replication.max_skew; set the clock"
        ))
    }
}
