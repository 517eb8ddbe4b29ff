//! Events of SWIM and messages of membership: what they change, and what is answered.

use super::{Members, MembersOutput};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::membership::{Event, Identity, MemberMessage, Timer, Todo};

impl Members {
    /// A timer that was asked for is due.
    pub fn fire(&mut self, timer: Timer, now: Now) {
        let todo = self.swim.fire(timer);
        self.carry_out(todo, now);
    }

    /// The bytes of a `Gossip` message of `node`.
    pub fn on_message(&mut self, node: &NodeId, bytes: &[u8], now: Now) {
        match MemberMessage::decode(bytes) {
            None => tracing::debug!(peer = %node, "ignored a message that is none of membership's"),
            Some(MemberMessage::Swim(packet)) => {
                let todo = self.swim.on_message(&packet);
                self.carry_out(todo, now);
            }
            Some(MemberMessage::KnownIncarnation { incarnation }) => {
                self.outpace(incarnation, now);
            }
            Some(MemberMessage::ProbeRefused {
                node: about,
                incarnation,
            }) => self.on_probe_refused(node, &about, incarnation, now),
            Some(MemberMessage::ProbeSilent {
                node: about,
                incarnation,
            }) => self.on_probe_silent(node, &about, incarnation, now),
            Some(MemberMessage::ProbeReply {
                node: about,
                incarnation,
                alive,
            }) => self.on_probe_reply(node, &about, incarnation, alive, now),
            Some(MemberMessage::AnnounceRequest) => {
                self.outputs.push(MembersOutput::Announce(node.clone()));
            }
            Some(MemberMessage::MembersRequest) => {
                let members = self.roster.active();
                let members = members.map(|(node, member)| (node.to_string(), member.identity.addr));
                let members = members.collect();
                self.send(node.clone(), MemberMessage::MembersReply { members });
            }
            Some(MemberMessage::MembersReply { members }) => {
                let members = members.into_iter().take(MEMBERS_MAX);
                let members = members.filter_map(|(node, addr)| Some((NodeId::parse(&node).ok()?, addr)));
                self.outputs
                    .push(MembersOutput::Listed(node.clone(), members.collect()));
            }
            Some(MemberMessage::ClockRequest { asked_ms }) => {
                let (now_ms, time) = (now.wall_ms, self.clocks.told(now));
                let reply = MemberMessage::ClockReply {
                    asked_ms,
                    now_ms,
                    time,
                };
                self.send(node.clone(), reply);
            }
            Some(MemberMessage::ClockReply {
                asked_ms,
                now_ms,
                time,
            }) => {
                self.on_clock_reply(node, (asked_ms, now_ms), time, now);
            }
            Some(MemberMessage::StampRefused { ahead_ms }) => self.on_stamp_refused(node, ahead_ms, now),
        }
    }

    /// A node has heard of the incarnation `known` of this node. Says whether this node had to take a later one.
    pub fn outpace(&mut self, known: u64, now: Now) -> bool {
        if known <= self.swim.identity().incarnation {
            return false;
        }
        tracing::warn!(
            known,
            "a former process of this node had a later clock; takes a later incarnation"
        );
        let todo = self.swim.outpace(known);
        self.carry_out(todo, now);
        true
    }

    /// The latest incarnation of `node` this node has heard of; 0 for none.
    #[must_use]
    pub fn latest_incarnation(&self, node: &NodeId) -> u64 {
        let member = self.roster.get(node).map(|member| member.identity.incarnation);
        member
            .max(self.swim.latest_incarnation(node.as_str()))
            .unwrap_or(0)
    }

    /// Tells `node` the latest incarnation of it that is known here, in case that is a later one than its own.
    pub(super) fn send_known_incarnation(&mut self, node: &NodeId, incarnation: u64) {
        self.send(node.clone(), MemberMessage::KnownIncarnation { incarnation });
    }

    /// Greets every node that is linked but no member: both sides of a silence may have given each other up, and then
    /// nobody else would begin. Asks members that are not ready to announce themselves.
    pub(super) fn greet(&mut self, now: Now) {
        if self.leaving {
            return;
        }
        let lost = self.roster.iter();
        let lost = lost.filter(|(_, member)| member.linked && !member.active && !member.leaving);
        let lost: Vec<_> = lost.map(|(_, member)| member.identity.clone()).collect();
        for identity in lost {
            let todo = self.swim.meet(identity);
            self.carry_out(todo, now);
        }
        // What a member announced may have come just before this node took it for another incarnation, and forgot it.
        let unknown = self.roster.active();
        let unknown = unknown.filter(|(_, member)| member.linked && !member.ready);
        let unknown: Vec<_> = unknown.map(|(node, _)| node.clone()).collect();
        for node in unknown {
            self.send(node, MemberMessage::AnnounceRequest);
        }
    }

    /// Carries out what SWIM asks for: timers, then events, then packets.
    pub(super) fn carry_out(&mut self, todo: Todo, now: Now) {
        let timers = todo.timers.into_iter();
        self.outputs
            .extend(timers.map(|(after, timer)| MembersOutput::Timer(after, timer)));
        let changed = !todo.events.is_empty();
        for event in todo.events {
            self.on_event(event, now);
        }
        for (to, packet) in todo.datagrams {
            self.send_packet(&to, packet);
        }
        if changed {
            self.outputs.push(MembersOutput::Changed);
        }
    }

    fn send_packet(&mut self, to: &Identity, packet: Vec<u8>) {
        let Ok(node) = NodeId::parse(&to.node) else {
            return;
        };
        let member = self.roster.get(&node);
        if !member.is_some_and(|member| member.linked) {
            // Like a datagram that is lost; the link it needed is being made.
            self.outputs.push(MembersOutput::Dial(to.addr));
            return;
        }
        let latest = match member {
            Some(member) if member.active => member.identity.incarnation,
            _ => self.latest_incarnation(&node),
        };
        if latest > to.incarnation {
            // A later incarnation of it is known, so nobody will listen to this one. SWIM would only tell it to try
            // the next number, and again the next.
            self.send_known_incarnation(&node, latest);
        } else {
            self.send(node, MemberMessage::Swim(packet));
        }
    }

    fn on_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Up(identity) => self.on_up(identity, now),
            Event::Down(identity) => self.on_down(&identity, now),
            Event::Replaced { old, new } => self.on_replaced(&old, new, now),
            Event::Rejoined(identity) => {
                tracing::warn!(
                    incarnation = identity.incarnation,
                    "was declared down by mistake; joined again"
                );
                self.outputs.push(MembersOutput::AnnounceToAll);
            }
        }
    }

    fn on_up(&mut self, identity: Identity, now: Now) {
        let Ok(node) = NodeId::parse(&identity.node) else {
            return;
        };
        let addr = identity.addr;
        if let Err(error) = self.note(&node, identity, now) {
            tracing::warn!(peer = %node, %error, "a member is not tracked");
            return;
        }
        if let Some(member) = self.roster.get_mut(&node) {
            member.active = true;
            member.failed = false;
            member.since = now.mono;
        }
        tracing::info!(peer = %node, %addr, "member up");
        self.outputs.push(MembersOutput::Up(node));
        self.outputs.push(MembersOutput::Dial(addr));
    }

    fn on_replaced(&mut self, old: &Identity, new: Identity, now: Now) {
        tracing::info!(peer = %old.node, "came back under a later incarnation");
        let Ok(node) = NodeId::parse(&new.node) else {
            return;
        };
        let known = self.roster.get(&node);
        let Some(linked) = known
            .filter(|member| member.identity.incarnation < new.incarnation)
            .map(|member| member.linked)
        else {
            return;
        };
        self.outputs.push(MembersOutput::Replaced(node.clone()));
        let (incarnation, moved) = (new.incarnation, new.addr != old.addr);
        if self.note(&node, new, now).is_ok() && linked && moved {
            // The link leads to where it was; what is there now is for the next one to find out.
            self.outputs.push(MembersOutput::CloseLink(node.clone()));
        }
        // It may be a former process, whose clock was ahead, and the one that is linked must get past it.
        self.send_known_incarnation(&node, incarnation);
    }

    /// The link to `node` is gone. If SWIM knows of no incarnation of it that is alive, it will not report that this
    /// one is down.
    pub(super) fn settle_unknown(&mut self, node: &NodeId, now: Now) {
        let active = self.roster.get(node).filter(|member| member.active);
        let Some(identity) = active.map(|member| member.identity.clone()) else {
            return;
        };
        if !self.swim.is_active(&identity.node) {
            self.on_down(&identity, now);
            self.outputs.push(MembersOutput::Changed);
        }
    }

    fn on_down(&mut self, identity: &Identity, now: Now) {
        let Ok(node) = NodeId::parse(&identity.node) else {
            return;
        };
        let Some(member) = self.roster.get_mut(&node) else {
            return;
        };
        let later = member.identity.incarnation > identity.incarnation;
        if later
            && (member.linked || self.swim.latest_incarnation(&identity.node) > Some(identity.incarnation))
        {
            return; // it is a former incarnation that is down
        }
        member.active = false;
        member.failed = true;
        member.since = now.mono;
        let left = member.leaving;
        tracing::warn!(peer = %node, left, "member down");
        if left {
            self.absences.forget(&node);
        } else {
            self.note_lost(&node, now);
        }
        self.suspicions.clear(&node);
        self.outputs.push(MembersOutput::Down { node, left });
    }
}
