//! Which run of which node: what SWIM tells members apart by.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// One run of one node. A restart is a new identity that replaces the old one: same name, later incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// When this run began, in milliseconds since 1970; moved on when the node was wrongly declared down.
    pub incarnation: u64,
}

impl foca::Identity for Identity {
    type Addr = String;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            incarnation: self.incarnation.saturating_add(1),
            ..self.clone()
        })
    }

    fn addr(&self) -> String {
        self.node.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.incarnation > adversary.incarnation
    }
}
