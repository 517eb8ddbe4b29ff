//! Two processes under one name. The one that is a member stays one, the newcomer is refused, and both say so loudly;
//! a process that is gone has no name any more, whatever its links still look like.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Engine, Output, Phase};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::replication::lanes::CONTROL;

/// How often the same is said in the log, at most.
const SAY_INTERVAL: Duration = Duration::from_secs(60);
/// How long a refusal counts after it was last heard: a refused node tries again every few seconds.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Names that two processes claim.
#[derive(Debug, Default)]
pub(super) struct Names {
    said: BTreeMap<NodeId, Duration>,
    /// Who says that another process has this node's name, where that one is, and when this was heard.
    taken: BTreeMap<NodeId, (SocketAddr, Duration)>,
    /// When it was last said that the name is taken.
    taken_said: Option<Duration>,
}

impl Engine {
    /// Where `node` is linked, if that is another address than `addr`: two processes under one name, or one that is
    /// gone and one that came after it.
    #[must_use]
    pub fn is_elsewhere(&self, node: &NodeId, addr: SocketAddr) -> Option<SocketAddr> {
        let member = self.roster.get(node).filter(|member| member.linked)?;
        (member.identity.addr != addr).then_some(member.identity.addr)
    }

    /// The process `node` is linked to does not answer any more, and another one has its name: the link is given up.
    pub fn give_up_link(&mut self, node: &NodeId, now: Now) {
        tracing::info!(peer = %node, "its former process does not answer; another takes its place");
        self.outputs.push(Output::Close(node.clone(), CONTROL));
        self.link_down(node, CONTROL, false, now);
    }

    /// The process at `newcomer` was refused because the one at `holder` is alive and has its name.
    pub fn duplicate_refused(&mut self, node: &NodeId, holder: SocketAddr, newcomer: SocketAddr, now: Now) {
        self.counters.duplicate_ids += 1;
        let said = self.names.said.get(node);
        if said.is_some_and(|said| now.mono.saturating_sub(*said) < SAY_INTERVAL) {
            return;
        }
        if self.names.said.len() >= MEMBERS_MAX {
            self.names.said.clear();
        }
        self.names.said.insert(node.clone(), now.mono);
        tracing::error!(
            peer = %node, %holder, %newcomer,
            "two nodes have one name; the later one is refused: give each an id and a certificate of its own"
        );
    }

    /// `by` refused this node: the process at `holder` has its name.
    pub fn name_taken(&mut self, by: &NodeId, holder: SocketAddr, now: Now) {
        if self.names.taken.len() < MEMBERS_MAX {
            self.names.taken.insert(by.clone(), (holder, now.mono));
        }
        let said = self.names.taken_said;
        if said.is_none_or(|said| now.mono.saturating_sub(said) >= SAY_INTERVAL) {
            self.names.taken_said = Some(now.mono);
            tracing::error!(
                node = %self.config.node, %holder, %by,
                "refused: two nodes have this name; give this one an id and a certificate of its own, or stop the other"
            );
        }
    }

    /// `by` has nothing against this node's name any more.
    pub(super) fn name_welcome(&mut self, by: &NodeId) {
        self.names.taken.remove(by);
    }

    /// Why this node is refused, in a sentence; `None` when it is not.
    #[must_use]
    pub fn name_problem(&self) -> Option<String> {
        let (by, (holder, _)) = self.names.taken.first_key_value()?;
        Some(format!(
            "refused by {by}: a node called {} is alive at {holder}; give this one an id of its own",
            self.config.node
        ))
    }

    /// Whether this node must not begin without the others, because they refuse it for its name.
    pub(super) fn is_name_refused(&self) -> bool {
        !self.names.taken.is_empty() && matches!(self.phase, Phase::Joining { .. })
    }

    /// Forgets a refusal that is not repeated.
    pub(super) fn progress_names(&mut self, now: Now) {
        self.names
            .taken
            .retain(|_, (_, heard)| now.mono.saturating_sub(*heard) < REFUSED_FOR);
    }
}
