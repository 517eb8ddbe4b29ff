//! Duplicates: two processes that claim one node id, and the refusals this leads to.
//!
//! The process that is a member stays one, the newcomer is refused, and both log it. This value remembers who refused
//! this node, which keeps it from being ready, and limits how often either is logged. Whether the holder of an id is
//! still there is found out by [`crate::drivers`], which ask its address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Members;
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;

/// How often the same refusal is logged, at most.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// How long a refusal counts after it last arrived: a refused node tries again every few seconds.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What is known of duplicate ids. See the module page.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    /// When the refusal of each id was logged last. Cleared when it holds [`MEMBERS_MAX`] ids.
    logged: BTreeMap<NodeId, Duration>,
    /// Who refused this node, where the holder of its id listens, and when. At most [`MEMBERS_MAX`] nodes.
    refused_by: BTreeMap<NodeId, (SocketAddr, Duration)>,
    /// When it was last logged that this node is refused.
    refusal_logged: Option<Duration>,
}

impl Duplicates {
    /// The process at `newcomer` was refused here, because the one at `holder` is alive and has its id. Says whether
    /// this is to be logged now.
    pub(super) fn refused_here(&mut self, node: &NodeId, now: Duration) -> bool {
        let last = self.logged.get(node);
        if last.is_some_and(|last| now.saturating_sub(*last) < LOG_INTERVAL) {
            return false;
        }
        if self.logged.len() >= MEMBERS_MAX {
            self.logged.clear();
        }
        self.logged.insert(node.clone(), now);
        true
    }

    /// `by` refused this node, because the process at `holder` has its id. Says whether this is to be logged now.
    pub(super) fn refused_by(&mut self, by: &NodeId, holder: SocketAddr, now: Duration) -> bool {
        if self.refused_by.len() < MEMBERS_MAX || self.refused_by.contains_key(by) {
            self.refused_by.insert(by.clone(), (holder, now));
        }
        let due = self
            .refusal_logged
            .is_none_or(|last| now.saturating_sub(last) >= LOG_INTERVAL);
        if due {
            self.refusal_logged = Some(now);
        }
        due
    }

    /// `by` accepts this node.
    pub(super) fn accepted_by(&mut self, by: &NodeId) {
        self.refused_by.remove(by);
    }

    /// Who refuses this node, and where the holder of its id listens; of several nodes the first by name.
    pub(super) fn refusal(&self) -> Option<(&NodeId, SocketAddr)> {
        let (by, (holder, _)) = self.refused_by.first_key_value()?;
        Some((by, *holder))
    }

    /// Forgets refusals that were not repeated.
    pub(super) fn expire(&mut self, now: Duration) {
        self.refused_by
            .retain(|_, (_, at)| now.saturating_sub(*at) < REFUSED_FOR);
    }

    /// Drops what is kept of `node`.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.logged.remove(node);
        self.refused_by.remove(node);
    }
}

impl Members {
    /// Where `node` is linked, if that is another address than `addr`: then two processes have its id, or one that is
    /// gone and one that came after it.
    #[must_use]
    pub fn linked_elsewhere(&self, node: &NodeId, addr: SocketAddr) -> Option<SocketAddr> {
        let member = self.roster.get(node).filter(|member| member.linked)?;
        (member.identity.addr != addr).then_some(member.identity.addr)
    }

    /// The process at `newcomer` was refused here, because the one at `holder` is alive and has its id.
    pub fn duplicate_refused(&mut self, node: &NodeId, holder: SocketAddr, newcomer: SocketAddr, now: Now) {
        if self.duplicates.refused_here(node, now.mono) {
            tracing::error!(
                peer = %node, %holder, %newcomer,
                "two nodes have one id; the later one is refused: give each an id and a certificate of its own"
            );
        }
    }

    /// `by` refused this node: the process at `holder` has its id.
    pub fn id_taken(&mut self, by: &NodeId, holder: SocketAddr, now: Now) {
        if self.duplicates.refused_by(by, holder, now.mono) {
            tracing::error!(
                node = %self.config.node, %holder, %by,
                "refused: two nodes have this id; give this one an id and a certificate of its own, or stop the other"
            );
        }
    }

    /// Why this node is refused, in a sentence; `None` when it is not.
    #[must_use]
    pub fn duplicate_problem(&self) -> Option<String> {
        let (by, holder) = self.duplicates.refusal()?;
        Some(format!(
            "refused by {by}: a node called {} is alive at {holder}; give this one an id of its own",
            self.config.node
        ))
    }

    /// Whether other nodes refuse this one for its id.
    #[must_use]
    pub fn is_refused_as_duplicate(&self) -> bool {
        self.duplicates.refusal().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_is_logged_once_a_minute_for_each_id() {
        let mut duplicates = Duplicates::default();
        assert!(duplicates.refused_here(&id("a"), seconds(0)));
        assert!(!duplicates.refused_here(&id("a"), seconds(59)));
        assert!(duplicates.refused_here(&id("b"), seconds(59)));
        assert!(duplicates.refused_here(&id("a"), seconds(60)));
        for number in 0..3 * MEMBERS_MAX {
            duplicates.refused_here(&id(&format!("n{number}")), seconds(61));
        }
        assert!(duplicates.logged.len() <= MEMBERS_MAX);
    }

    #[test]
    fn a_refusal_of_this_node_counts_until_it_is_not_repeated_or_taken_back() {
        let (mut duplicates, holder) = (Duplicates::default(), "10.0.0.9:4000".parse().unwrap());
        assert!(duplicates.refused_by(&id("b"), holder, seconds(0)));
        assert!(
            !duplicates.refused_by(&id("a"), holder, seconds(5)),
            "one log line"
        );
        assert_eq!(duplicates.refusal(), Some((&id("a"), holder)));
        duplicates.accepted_by(&id("a"));
        assert_eq!(duplicates.refusal(), Some((&id("b"), holder)));
        duplicates.expire(seconds(9));
        assert!(duplicates.refusal().is_some());
        duplicates.expire(seconds(10));
        assert_eq!(duplicates.refusal(), None);
    }

    #[test]
    fn a_known_refusal_is_renewed_though_there_is_room_for_no_other() {
        let (mut duplicates, holder) = (Duplicates::default(), "10.0.0.9:4000".parse().unwrap());
        for number in 0..MEMBERS_MAX {
            duplicates.refused_by(&id(&format!("n{number:04}")), holder, seconds(0));
        }
        duplicates.refused_by(&id("n0000"), holder, seconds(9));
        duplicates.refused_by(&id("other"), holder, seconds(9));
        duplicates.expire(seconds(10));
        assert_eq!(duplicates.refused_by.len(), 1);
        assert_eq!(duplicates.refusal(), Some((&id("n0000"), holder)));
    }
}
