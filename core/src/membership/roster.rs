//! What is known of every member, dead ones included: the answer to `GET /v1/members`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Identity;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Active; does not have the whole table yet.
    Joining,
    /// Active, with the whole table.
    Ready,
    /// Active as far as is known, but no link to it is up.
    Suspect,
    /// Gone without a word.
    Down,
    /// Gone, and said so.
    Left,
}

impl MemberState {
    /// The name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

/// One member, as this node knows it.
#[derive(Debug, Clone)]
pub struct Member {
    /// Which run of it.
    pub identity: Identity,
    /// Whether SWIM counts it in.
    pub active: bool,
    /// Whether it said it is leaving.
    pub leaving: bool,
    /// Whether it said it has the whole table.
    pub ready: bool,
    /// Whether the link to it is up.
    pub linked: bool,
    /// Whether a refused connection means that its process is gone: it was linked since that was last concluded.
    pub refusal_counts: bool,
    /// When SWIM last changed its mind about it, since this node started.
    pub since: Duration,
}

impl Member {
    /// See [`MemberState`].
    #[must_use]
    pub const fn state(&self) -> MemberState {
        match (self.active, self.leaving, self.linked, self.ready) {
            (_, true, ..) => MemberState::Left,
            (false, ..) => MemberState::Down,
            (true, _, false, _) => MemberState::Suspect,
            (true, _, true, false) => MemberState::Joining,
            (true, _, true, true) => MemberState::Ready,
        }
    }
}

/// Every member but this node, ordered by name.
#[derive(Debug, Default)]
pub struct Roster {
    members: BTreeMap<NodeId, Member>,
}

impl Roster {
    /// The member called `node`.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// The member called `node`, to be changed.
    pub fn get_mut(&mut self, node: &NodeId) -> Option<&mut Member> {
        self.members.get_mut(node)
    }

    /// Takes note of a run of a member. An earlier run than the known one changes nothing; a later one starts
    /// over, unless the link to it never broke. `None` when the roster is full.
    pub fn note(&mut self, node: &NodeId, identity: Identity, now: Duration) -> Option<&mut Member> {
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(node) {
            // Whoever has been gone longest makes room.
            let gone = self.members.iter().filter(|(_, m)| !m.active && !m.linked);
            let oldest = gone.min_by_key(|(_, m)| m.since).map(|(node, _)| node.clone())?;
            self.members.remove(&oldest);
        }
        let fresh = Member {
            identity: identity.clone(),
            active: false,
            leaving: false,
            ready: false,
            linked: false,
            refusal_counts: false,
            since: now,
        };
        let member = self.members.entry(node.clone()).or_insert_with(|| fresh.clone());
        if member.identity.incarnation < identity.incarnation {
            if member.linked {
                member.identity = identity; // the same process, declared down by mistake, under its next number
            } else {
                *member = Member {
                    active: member.active,
                    ..fresh
                };
            }
        }
        Some(member)
    }

    /// Every member.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    /// The members SWIM counts in.
    pub fn active(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members
            .iter()
            .filter(|(_, member)| member.active && !member.leaving)
    }

    /// Where to dial: every active member, and every one that went down without a word less than `patience` ago.
    #[must_use]
    pub fn addresses(&self, now: Duration, patience: Duration) -> Vec<SocketAddr> {
        let wanted = |member: &&Member| {
            !member.leaving && (member.active || now.saturating_sub(member.since) < patience)
        };
        self.members
            .values()
            .filter(wanted)
            .map(|member| member.identity.addr)
            .collect()
    }
}
