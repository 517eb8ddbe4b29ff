//! Node identities: name, address and incarnation of a node, by which SWIM tells members apart.
//!
//! Comparing a name by its number keeps SWIM's work small. Whether an identity may join is decided by the handshake of
//! a link, not here.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::base::id::name_tag;

/// A node's name as it came from another node, and the hash that stands for it. SWIM goes through all members for
/// each update, and compares hashes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Name {
    text: String,
    tag: u64,
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self {
            tag: name_tag(&text),
            text,
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.text
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// One incarnation of one node. A restart is a new identity that replaces the old one: same name, later incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's name.
    pub node: Name,
    /// Where other nodes reach it.
    pub addr: SocketAddr,
    /// When the process began, in milliseconds since 1970; moved on when the node refutes its own failure.
    pub incarnation: u64,
}

impl foca::Identity for Identity {
    /// Two names with one hash would be one node to SWIM, as they would be to stamps: among a thousand nodes the
    /// chance is about one in 10^13.
    type Addr = u64;

    fn renew(&self) -> Option<Self> {
        Some(Self {
            incarnation: self.incarnation.saturating_add(1),
            ..self.clone()
        })
    }

    fn addr(&self) -> u64 {
        self.node.tag
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.incarnation > adversary.incarnation
    }
}
