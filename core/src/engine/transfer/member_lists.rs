//! Member lists: which members are alive, as the donors of a joining node say.
//!
//! A node that has just started knows only those that it was told of or that dialled it. Before it is ready, and before
//! its worker table counts as complete, every donor is asked for its list, and every member that a list names is linked
//! and has announced itself. In `backup` mode each of them may hold a part that nobody else has.
//!
//! What differs between tables is found in [`super::joining`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::changed::Changed;
use crate::engine::{Engine, Output, Peer, Phase};
use crate::membership::{Member, MemberMessage};
use crate::replication::message::Message;

/// How often a donor is asked again that did not answer, or whose list names a member that is not linked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The lists that came, and who was asked. As many as there are members.
#[derive(Debug, Default)]
pub(in crate::engine) struct MemberLists {
    lists: BTreeMap<NodeId, BTreeMap<NodeId, SocketAddr>>,
    asked: BTreeSet<NodeId>,
    ask_again: Duration,
}

impl MemberLists {
    /// `node` is gone, or its link is: what it said does not count any more.
    pub(in crate::engine) fn forget(&mut self, node: &NodeId) {
        self.lists.remove(node);
        self.asked.remove(node);
    }

    /// Whom to ask now, of `donors`, where `missing` says whether a member is still to be linked.
    fn take_due(&mut self, donors: Vec<NodeId>, missing: bool, now: Duration) -> Vec<NodeId> {
        let again = now >= self.ask_again;
        if again {
            self.ask_again = now + ASK_AGAIN;
        }
        let is_due = |node: &NodeId| {
            !self.asked.contains(node) || again && (missing || !self.lists.contains_key(node))
        };
        let due: Vec<_> = donors.into_iter().filter(is_due).collect();
        self.asked.extend(due.iter().cloned());
        due
    }
}

impl Engine {
    /// Asks the donors of a joining node which members are alive.
    pub(in crate::engine) fn ask_for_lists(&mut self, now: Now) {
        let (donors, missing) = (self.donors(), !self.missing_members().is_empty());
        for node in self.joining.lists.take_due(donors, missing, now.mono) {
            self.send(&node, Message::Gossip(MemberMessage::MembersRequest.encode()));
        }
    }

    /// `node` says which members are alive: those that are not linked are dialled.
    pub(in crate::engine) fn on_member_list(&mut self, node: &NodeId, members: Vec<(NodeId, SocketAddr)>) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        let own = &self.config.node;
        let members: BTreeMap<_, _> = members.into_iter().filter(|(node, _)| node != own).collect();
        let roster = self.members.roster();
        let is_linked = |node: &NodeId| roster.get(node).is_some_and(|member| member.linked);
        let unlinked = members.iter().filter(|(node, _)| !is_linked(node));
        let dials: Vec<_> = unlinked.map(|(_, addr)| Output::Dial(*addr)).collect();
        self.outputs.extend(dials);
        self.joining.lists.lists.insert(node.clone(), members);
        self.changed.note(Changed::JOINING);
    }

    /// The addresses that a joining node keeps dialling, beside those of members.
    pub(in crate::engine) fn asked_while_joining(&self) -> BTreeSet<SocketAddr> {
        if !matches!(self.phase, Phase::Joining { .. }) {
            return BTreeSet::new();
        }
        let mut addrs = self.joining.inquiry.addresses();
        addrs.extend(self.joining.lists.lists.values().flat_map(BTreeMap::values));
        addrs
    }

    /// The members that are alive as far as anybody said, and whose state this node does not know yet, donors that have not
    /// said who else is there among them.
    pub(in crate::engine) fn missing_members(&self) -> BTreeSet<NodeId> {
        let (roster, peers, lists) = (self.members.roster(), &self.peers, &self.joining.lists.lists);
        let has_announced = |node: &NodeId| peers.get(node).is_some_and(|peer: &Peer| peer.announced);
        let is_known = |node: &NodeId, member: &Member| {
            member.leaving || member.active && member.linked && (member.ready || has_announced(node))
        };
        let active = roster.active().filter(|(node, member)| !is_known(node, member));
        let named = lists.values().flat_map(BTreeMap::keys);
        let named = named.filter(|node| !roster.get(node).is_some_and(|member| is_known(node, member)));
        let unasked = self
            .donors()
            .into_iter()
            .filter(|donor| !lists.contains_key(donor));
        let missing = active.map(|(node, _)| node).chain(named).cloned();
        missing.chain(unasked).collect()
    }

    /// Whether the worker table has the workers of every living member, so that it may replace the one that filters and
    /// proxies have. While a node joins it has not, until its donors have said who is there and all of those have
    /// announced their workers.
    #[must_use]
    pub fn knows_all_workers(&self) -> bool {
        let joining = matches!(self.phase, Phase::Joining { .. });
        !joining || !self.donors().is_empty() && self.missing_members().is_empty()
    }

    /// What a node waits for that has the table and compares it, in a sentence.
    pub(in crate::engine) fn missing_sentence(&self) -> String {
        let missing: Vec<_> = self.missing_members().iter().map(ToString::to_string).collect();
        if missing.is_empty() {
            "comparing tables with the members".into()
        } else {
            format!(
                "comparing tables with the members; no link to {}",
                missing.join(", ")
            )
        }
    }
}
