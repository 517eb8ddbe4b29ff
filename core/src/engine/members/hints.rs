//! Hints: what this node tells on the multicast group, and which of the hints it receives it follows.
//!
//! A hint only says whom to dial. Who may join is decided by the handshake of the link.

use super::{Members, MembersOutput};
use crate::base::clock::Now;
use crate::membership::{Hint, Listener};

impl Members {
    /// The hint this node sends in the domain `domain`. None while it leaves.
    #[must_use]
    pub fn hint(&self, domain: &str, now: Now) -> Option<Hint> {
        let own = self.identity();
        (!self.leaving).then(|| Hint {
            cluster: self.config.cluster.clone(),
            domain: domain.to_owned(),
            node: own.node.to_string(),
            addr: own.addr,
            sent_ms: now.wall_ms,
        })
    }

    /// Whether `hint`, should its signature prove genuine, leads to an address this node has no link to.
    #[must_use]
    pub fn is_hint_worth(&self, hint: &Hint, domain: &str, now: Now) -> bool {
        let listener = Listener {
            cluster: &self.config.cluster,
            domain,
            addr: self.identity().addr,
            wall_ms: now.wall_ms,
            max_skew: self.config.clocks.max_skew,
        };
        let linked = |addr| {
            let mut members = self.roster.iter();
            members.any(|(_, member)| member.linked && member.identity.addr == addr)
        };
        !self.leaving && self.dialled.is_worth(hint, &listener, linked, now.mono)
    }

    /// The signature of a hint proved genuine: its address is dialled, unless it was a moment ago.
    pub fn follow_hint(&mut self, hint: &Hint, now: Now) {
        if self.dialled.follow(hint.addr, now.mono) {
            tracing::debug!(peer = %hint.node, addr = %hint.addr, "a hint says where it is");
            self.outputs.push(MembersOutput::Dial(hint.addr));
        }
    }
}
