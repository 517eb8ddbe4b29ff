//! What this node makes of hints, and what it says of itself in one.

use crate::base::clock::Now;
use crate::engine::{Engine, Output};
use crate::membership::{Hint, Listener};

impl Engine {
    /// What this node tells whoever listens. Nothing while it leaves.
    #[must_use]
    pub fn hint(&self, domain: &str, now: Now) -> Option<Hint> {
        let own = self.identity();
        (!self.is_leaving()).then(|| Hint {
            cluster: self.config.cluster.clone(),
            domain: domain.to_owned(),
            node: own.node.to_string(),
            addr: own.addr,
            sent_ms: now.wall_ms,
        })
    }

    /// Whether `hint`, should it prove genuine, leads somewhere this node has no link to.
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
            self.roster
                .iter()
                .any(|(_, member)| member.linked && member.identity.addr == addr)
        };
        !self.is_leaving() && self.dialled.is_worth(hint, &listener, linked, now.mono)
    }

    /// A hint proved genuine: its address is dialled, unless it was a moment ago.
    pub fn follow_hint(&mut self, hint: &Hint, now: Now) {
        if self.dialled.follow(hint.addr, now.mono) {
            tracing::debug!(peer = %hint.node, addr = %hint.addr, "a hint says where it is");
            self.outputs.push(Output::Dial(hint.addr));
        }
    }
}
