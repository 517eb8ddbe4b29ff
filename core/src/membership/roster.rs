//! The roster: what this node knows of every other member, those that are gone included.
//!
//! It keeps one [`Member`] for each node name, bounded by [`MEMBERS_MAX`], and answers `GET /v1/members`. Who joins,
//! fails and leaves is decided by SWIM and by [`crate::engine::members`], which write it down here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Identity;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;

/// The state of a member, as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Active, or linked and about to be; does not have the whole session table yet.
    Joining,
    /// Active, with the whole session table.
    Ready,
    /// Active as far as SWIM knows, but this node has no link to it.
    Suspect,
    /// Gone without having left.
    Down,
    /// Gone after it announced that it leaves.
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
    /// Its name, address and incarnation.
    pub identity: Identity,
    /// Whether SWIM counts it as alive or only suspected.
    pub active: bool,
    /// Whether it announced that it leaves.
    pub leaving: bool,
    /// Whether it announced that it has the whole session table.
    pub ready: bool,
    /// Whether this node's link to it is up.
    pub linked: bool,
    /// Whether it was found to have failed, and nothing has arrived from it since.
    pub failed: bool,
    /// Whether a refused connection raises suspicion: true from each new link until the first refusal after it.
    pub refusal_counts: bool,
    /// When `active` last changed, on the monotonic clock.
    pub since: Duration,
}

impl Member {
    /// See [`MemberState`].
    #[must_use]
    pub const fn state(&self) -> MemberState {
        match (self.active, self.leaving, self.linked, self.ready) {
            (_, true, ..) => MemberState::Left,
            // Alive, as its link says; membership has yet to hear of it.
            (false, _, true, _) if !self.failed => MemberState::Joining,
            (false, ..) => MemberState::Down,
            (true, _, false, _) => MemberState::Suspect,
            (true, _, true, false) => MemberState::Joining,
            (true, _, true, true) => MemberState::Ready,
        }
    }

    /// Whether it is neither a member nor linked: what is known of it is history.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        !self.active && !self.linked
    }
}

/// [`MEMBERS_MAX`] members are active or linked, and one more was to be tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MEMBERS_MAX} members are active or linked, the most one node tracks; stop nodes, or divide them into domains"
)]
pub struct RosterFull;

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

    /// Whether [`Self::note`] of `node` would succeed.
    ///
    /// # Errors
    /// [`RosterFull`].
    pub fn check_room(&self, node: &NodeId) -> Result<(), RosterFull> {
        let has_room = self.members.len() < MEMBERS_MAX
            || self.members.contains_key(node)
            || self.members.values().any(Member::is_gone);
        if has_room { Ok(()) } else { Err(RosterFull) }
    }

    /// Records an incarnation of `node`. An earlier incarnation than the known one changes nothing. A later one
    /// resets what was known, unless the link to it never broke: then it is the same process, which refuted its
    /// own failure. Returns the member that was forgotten to make room: the one that has been gone the longest.
    ///
    /// # Errors
    /// [`RosterFull`] when nobody can be forgotten; nothing was recorded.
    pub fn note(
        &mut self,
        node: &NodeId,
        identity: Identity,
        now: Duration,
    ) -> Result<Option<NodeId>, RosterFull> {
        let mut forgotten = None;
        if self.members.len() >= MEMBERS_MAX && !self.members.contains_key(node) {
            let gone = self.members.iter().filter(|(_, member)| member.is_gone());
            let oldest = gone.min_by_key(|(_, member)| member.since);
            let oldest = oldest.map(|(node, _)| node.clone()).ok_or(RosterFull)?;
            self.members.remove(&oldest);
            forgotten = Some(oldest);
        }
        let fresh = Member {
            identity: identity.clone(),
            active: false,
            leaving: false,
            ready: false,
            linked: false,
            failed: false,
            refusal_counts: false,
            since: now,
        };
        let member = self.members.entry(node.clone()).or_insert_with(|| fresh.clone());
        if member.identity.incarnation < identity.incarnation {
            if member.linked {
                member.identity = identity;
            } else {
                *member = Member {
                    active: member.active,
                    ..fresh
                };
            }
        }
        Ok(forgotten)
    }

    /// Removes the members that have been gone for `patience` or longer; returns their names in order.
    pub fn forget_gone(&mut self, now: Duration, patience: Duration) -> Vec<NodeId> {
        let is_over = |member: &Member| member.is_gone() && now.saturating_sub(member.since) >= patience;
        let over = self.members.extract_if(.., |_, member| is_over(member));
        over.map(|(node, _)| node).collect()
    }

    /// Every member.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter()
    }

    /// The members that SWIM counts as alive and that do not leave.
    pub fn active(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members
            .iter()
            .filter(|(_, member)| member.active && !member.leaving)
    }

    /// The addresses to keep links to: those of active members, and of members that failed less than `patience`
    /// ago.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, incarnation: u64) -> Identity {
        Identity {
            node: name.into(),
            addr: "10.0.0.1:4000".parse().unwrap(),
            incarnation,
        }
    }

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    /// A roster of [`MEMBERS_MAX`] members, all active.
    fn full() -> Roster {
        let mut roster = Roster::default();
        for number in 0..MEMBERS_MAX {
            let name = format!("n{number:04}");
            roster
                .note(&id(&name), identity(&name, 1), Duration::ZERO)
                .unwrap();
            roster.get_mut(&id(&name)).unwrap().active = true;
        }
        roster
    }

    #[test]
    fn a_full_roster_forgets_who_has_been_gone_the_longest_and_refuses_when_all_are_there() {
        let mut roster = full();
        let new = id("new");
        assert_eq!(roster.check_room(&new), Err(RosterFull));
        assert_eq!(
            roster.note(&new, identity("new", 1), Duration::ZERO),
            Err(RosterFull)
        );
        assert_eq!(
            roster.check_room(&id("n0001")),
            Ok(()),
            "a known one needs no room"
        );
        for (name, since) in [("n0005", 20), ("n0007", 10)] {
            let member = roster.get_mut(&id(name)).unwrap();
            (member.active, member.since) = (false, Duration::from_secs(since));
        }
        assert_eq!(roster.check_room(&new), Ok(()));
        let forgotten = roster.note(&new, identity("new", 1), Duration::from_secs(30));
        assert_eq!(forgotten, Ok(Some(id("n0007"))));
        assert_eq!(roster.iter().count(), MEMBERS_MAX);
        assert!(RosterFull.to_string().contains("1024 members"));
    }

    #[test]
    fn a_later_incarnation_resets_a_member_unless_its_link_never_broke() {
        let mut roster = Roster::default();
        for linked in [false, true] {
            let node = id(if linked { "a" } else { "b" });
            roster
                .note(&node, identity(node.as_str(), 5), Duration::ZERO)
                .unwrap();
            let member = roster.get_mut(&node).unwrap();
            (member.linked, member.ready) = (linked, true);
            roster
                .note(&node, identity(node.as_str(), 4), Duration::ZERO)
                .unwrap();
            assert_eq!(roster.get(&node).unwrap().identity.incarnation, 5);
            roster
                .note(&node, identity(node.as_str(), 6), Duration::ZERO)
                .unwrap();
            let member = roster.get(&node).unwrap();
            assert_eq!((member.identity.incarnation, member.ready), (6, linked));
        }
    }

    #[test]
    fn only_members_that_are_gone_for_long_are_forgotten() {
        let mut roster = Roster::default();
        let patience = Duration::from_secs(100);
        for (name, active, linked) in [
            ("active", true, false),
            ("gone", false, false),
            ("linked", false, true),
        ] {
            roster.note(&id(name), identity(name, 1), Duration::ZERO).unwrap();
            let member = roster.get_mut(&id(name)).unwrap();
            (member.active, member.linked) = (active, linked);
        }
        assert_eq!(roster.forget_gone(Duration::from_secs(99), patience), []);
        assert_eq!(roster.forget_gone(patience, patience), [id("gone")]);
        assert_eq!(roster.iter().count(), 2);
    }
}
