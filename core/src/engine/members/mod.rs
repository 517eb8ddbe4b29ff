//! Membership's events, and what they mean for peers, waits and routes.

pub(in crate::engine) mod absence;
pub(in crate::engine) mod clocks;
pub(in crate::engine) mod duplicates;
pub(in crate::engine) mod failure_detector;
mod hints;
pub(in crate::engine) mod suspicion;

use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::REDIAL_DOWN_FOR;
use crate::engine::changed::Changed;
use crate::engine::{Engine, Output};
use crate::membership::{Event, Identity, MemberMessage, Timer, Todo};
use crate::replication::message::Message;
use crate::replication::streams::CONTROL;

/// How often a peer that is linked but counts as down is greeted again, and one that is not known to be ready asked.
const GREETING_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// A timer that was asked for is due.
    pub fn fire(&mut self, timer: Timer, now: Now) {
        let todo = self.swim.fire(timer);
        self.carry_out(todo, now);
        self.settle(now);
    }

    /// A seed was tried for the first time: it answered, or it cannot be reached.
    pub fn seed_tried(&mut self, seed: &str, now: Now) {
        if self.joining.seeds_untried.remove(seed) {
            self.changed.note(Changed::JOINING);
            self.settle(now);
        }
    }

    /// A peer has heard of the incarnation `known` of this node. Says whether this run had to take a later one.
    pub fn outpace(&mut self, known: u64, now: Now) -> bool {
        let outpaced = self.outpace_incarnation(known, now);
        self.settle(now);
        outpaced
    }

    /// The same in the course of another call.
    pub(in crate::engine) fn outpace_incarnation(&mut self, known: u64, now: Now) -> bool {
        if known <= self.swim.identity().incarnation {
            return false;
        }
        tracing::warn!(
            known,
            "an earlier run of this node had a later clock; takes a later incarnation"
        );
        let todo = self.swim.outpace(known);
        self.carry_out(todo, now);
        true
    }

    /// The latest run of `node` this node has heard of; 0 for none.
    #[must_use]
    pub fn latest_incarnation(&self, node: &NodeId) -> u64 {
        let member = self.roster.get(node).map(|member| member.identity.incarnation);
        member
            .max(self.swim.latest_incarnation(node.as_str()))
            .unwrap_or(0)
    }

    /// Where links should be kept to, beside the seeds.
    #[must_use]
    pub fn wanted_links(&self, now: Now) -> Vec<std::net::SocketAddr> {
        self.roster.addresses(now.mono, REDIAL_DOWN_FOR)
    }

    /// Greets again, now and then, every peer that is linked but counts as down: both sides of a silence may have
    /// given each other up, and then nobody else would begin.
    pub(in crate::engine) fn greet_lost(&mut self, now: Now) {
        if now.mono < self.next_greeting || self.is_leaving() {
            return;
        }
        self.next_greeting = now.mono + GREETING_INTERVAL;
        let lost = self
            .roster
            .iter()
            .filter(|(_, m)| m.linked && !m.active && !m.leaving);
        let lost: Vec<_> = lost.map(|(_, member)| member.identity.clone()).collect();
        for identity in lost {
            let todo = self.swim.meet(identity);
            self.carry_out(todo, now);
        }
        // What a member said of itself may have come just before this node took it for another run, and forgot it.
        let unknown = self.roster.active().filter(|(_, m)| m.linked && !m.ready);
        let unknown: Vec<_> = unknown.map(|(node, _)| node.clone()).collect();
        for node in unknown {
            self.send_member_message(&node, &MemberMessage::AnnounceRequest);
        }
    }

    /// Membership's bytes from `node`.
    pub(in crate::engine) fn on_member_message(&mut self, node: &NodeId, bytes: &[u8], now: Now) {
        match MemberMessage::decode(bytes) {
            None => tracing::debug!(peer = %node, "membership ignored what is none of its words"),
            Some(MemberMessage::Swim(bytes)) => {
                let todo = self.swim.on_message(&bytes);
                self.carry_out(todo, now);
            }
            Some(MemberMessage::Known { incarnation }) => {
                self.outpace_incarnation(incarnation, now);
            }
            Some(MemberMessage::Missed {
                node: about,
                incarnation,
            }) => self.on_probe_refused(node, &about, incarnation, now),
            Some(MemberMessage::Heard {
                node: about,
                incarnation,
                alive,
            }) => self.on_probe_reply(node, &about, incarnation, alive, now),
            Some(MemberMessage::Silent {
                node: about,
                incarnation,
            }) => self.on_probe_silent(node, &about, incarnation, now),
            Some(MemberMessage::AnnounceRequest) => self.announce_to(node),
            Some(MemberMessage::ClockRequest { asked_ms }) => {
                let now_ms = now.wall_ms;
                self.send_member_message(node, &MemberMessage::Time { asked_ms, now_ms });
            }
            Some(MemberMessage::Time { asked_ms, now_ms }) => {
                self.on_clock_reply(node, asked_ms, now_ms, now)
            }
        }
    }

    pub(in crate::engine) fn send_member_message(&mut self, node: &NodeId, message: &MemberMessage) {
        self.send(node, Message::Gossip(message.encode()));
    }

    /// Tells `node` the latest run of it that is known here, in case it is none of its own.
    pub(in crate::engine) fn send_known_incarnation(&mut self, node: &NodeId, incarnation: u64) {
        self.send_member_message(node, &MemberMessage::Known { incarnation });
    }

    pub(in crate::engine) fn carry_out(&mut self, todo: Todo, now: Now) {
        self.outputs.extend(
            todo.timers
                .into_iter()
                .map(|(after, timer)| Output::Timer(after, timer)),
        );
        if !todo.events.is_empty() {
            self.changed.note(Changed::MEMBERS);
        }
        for event in todo.events {
            self.member_event(event, now);
        }
        for (to, bytes) in todo.datagrams {
            let Ok(node) = NodeId::parse(&to.node) else {
                continue;
            };
            if self.peers.get(&node).is_some_and(crate::engine::Peer::is_linked) {
                let latest = match self.roster.get(&node) {
                    Some(member) if member.active => member.identity.incarnation,
                    _ => self.latest_incarnation(&node),
                };
                if latest > to.incarnation {
                    // A later run of it is known, so nobody will listen to this one. SWIM would only tell it to try
                    // the next number, and again the next.
                    self.send_known_incarnation(&node, latest);
                } else {
                    self.send_member_message(&node, &MemberMessage::Swim(bytes));
                }
            } else {
                // Like a datagram that is lost; the link it needed is being made.
                self.outputs.push(Output::Dial(to.addr));
            }
        }
    }

    fn member_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Up(identity) => self.member_up(identity, now),
            Event::Down(identity) => self.member_down(&identity, now),
            Event::Replaced { old, new } => {
                tracing::info!(peer = %old.node, "came back as a later run of itself");
                if let Ok(node) = NodeId::parse(&new.node)
                    && self
                        .roster
                        .get(&node)
                        .is_some_and(|m| m.identity.incarnation < new.incarnation)
                {
                    self.forget_peer(&node, now);
                    self.distrust_workers(&node);
                    let (known, moved) = (new.incarnation, new.addr != old.addr);
                    let linked = self.roster.note(&node, new, now.mono).is_some_and(|m| m.linked);
                    if linked && moved {
                        // The link leads to where it was; what is there now is for the next one to find out.
                        self.outputs.push(Output::Close(node.clone(), CONTROL));
                    }
                    // It may be a former run, whose clock was ahead, and the one that is linked must get past it.
                    self.send_known_incarnation(&node, known);
                }
            }
            Event::Rejoined(identity) => {
                tracing::warn!(
                    incarnation = identity.incarnation,
                    "was declared down by mistake; joined again"
                );
                self.announce();
            }
        }
    }

    pub(in crate::engine) fn member_up(&mut self, identity: Identity, now: Now) {
        let Ok(node) = NodeId::parse(&identity.node) else {
            return;
        };
        let addr = identity.addr;
        let Some(member) = self.roster.note(&node, identity, now.mono) else {
            tracing::warn!(peer = %node, "the roster is full; this member is not tracked");
            return;
        };
        member.active = true;
        member.since = now.mono;
        tracing::info!(peer = %node, %addr, "member up");
        self.note_peer(&node, now);
        self.outputs.push(Output::Dial(addr));
    }

    /// The link to `node` is gone. If SWIM heard of no run that is alive, it will not say that this one is down.
    pub(in crate::engine) fn settle_unheard(&mut self, node: &NodeId, now: Now) {
        let active = self.roster.get(node).filter(|member| member.active);
        let Some(identity) = active.map(|member| member.identity.clone()) else {
            return;
        };
        if !self.swim.is_active(&identity.node) {
            self.member_down(&identity, now);
        }
    }

    fn member_down(&mut self, identity: &Identity, now: Now) {
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
            return; // an earlier run of it
        }
        member.active = false;
        member.since = now.mono;
        let left = member.leaving;
        tracing::warn!(peer = %node, left, "member down");
        self.note_missed(&node, left, now);
        self.clear_suspicion(&node);
        self.forget_peer(&node, now);
        self.distrust_workers(&node);
        if self.transfers.lost(&node) {
            self.check_again(&node);
        }
        self.start_transfers(now);
    }
}
