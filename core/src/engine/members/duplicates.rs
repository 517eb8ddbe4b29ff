//! Two processes under one name. The one that is a member stays one, the newcomer is refused, and both say so loudly;
//! a process that is gone has no name any more, whatever its links still look like.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::{Engine, Output, Phase};
use crate::replication::streams::CONTROL;

/// How often the same is said in the log, at most.
const SAY_INTERVAL: Duration = Duration::from_secs(60);
/// How long a refusal counts after it was last heard: a refused node tries again every few seconds.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// Duplicates that two processes claim.
#[derive(Debug, Default)]
pub(in crate::engine) struct Duplicates {
    sent_batch: BTreeMap<NodeId, Duration>,
    /// Who says that another process has this node's name, where that one is, and when this was heard.
    taken: BTreeMap<NodeId, (SocketAddr, Duration)>,
    /// When it was last said that the name is taken.
    taken_said: Option<Duration>,
}

impl Engine {
    /// Where `node` is linked, if that is another address than `addr`: two processes under one name, or one that is
    /// gone and one that came after it.
    #[must_use]
    pub fn linked_elsewhere(&self, node: &NodeId, addr: SocketAddr) -> Option<SocketAddr> {
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
        let sent_batch = self.duplicates.sent_batch.get(node);
        if sent_batch.is_some_and(|sent_batch| now.mono.saturating_sub(*sent_batch) < SAY_INTERVAL) {
            return;
        }
        if self.duplicates.sent_batch.len() >= MEMBERS_MAX {
            self.duplicates.sent_batch.clear();
        }
        self.duplicates.sent_batch.insert(node.clone(), now.mono);
        tracing::error!(
            peer = %node, %holder, %newcomer,
            "two nodes have one name; the later one is refused: give each an id and a certificate of its own"
        );
    }

    /// `by` refused this node: the process at `holder` has its name.
    pub fn id_taken(&mut self, by: &NodeId, holder: SocketAddr, now: Now) {
        if self.duplicates.taken.len() < MEMBERS_MAX {
            self.duplicates.taken.insert(by.clone(), (holder, now.mono));
        }
        let sent_batch = self.duplicates.taken_said;
        if sent_batch.is_none_or(|sent_batch| now.mono.saturating_sub(sent_batch) >= SAY_INTERVAL) {
            self.duplicates.taken_said = Some(now.mono);
            tracing::error!(
                node = %self.config.node, %holder, %by,
                "refused: two nodes have this name; give this one an id and a certificate of its own, or stop the other"
            );
        }
    }

    /// `by` has nothing against this node's name any more.
    pub(in crate::engine) fn clear_refusal(&mut self, by: &NodeId) {
        self.duplicates.taken.remove(by);
    }

    /// Why this node is refused, in a sentence; `None` when it is not.
    #[must_use]
    pub fn duplicate_problem(&self) -> Option<String> {
        let (by, (holder, _)) = self.duplicates.taken.first_key_value()?;
        Some(format!(
            "refused by {by}: a node called {} is alive at {holder}; give this one an id of its own",
            self.config.node
        ))
    }

    /// Whether this node must not begin without the others, because they refuse it for its name.
    pub(in crate::engine) fn is_refused_as_duplicate(&self) -> bool {
        !self.duplicates.taken.is_empty() && matches!(self.phase, Phase::Joining { .. })
    }

    /// Forgets a refusal that is not repeated.
    pub(in crate::engine) fn progress_duplicates(&mut self, now: Now) {
        self.duplicates
            .taken
            .retain(|_, (_, inbound)| now.mono.saturating_sub(*inbound) < REFUSED_FOR);
    }
}
