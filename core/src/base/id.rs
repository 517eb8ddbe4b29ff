//! Names: nodes and sessions. Newtypes, so that one cannot be taken for the other.

use std::fmt;
use std::sync::Arc;

use limpet_wire::report::{ID_MAX, NAME_MAX};

/// Apps whose name begins with this are the cluster's own; no caller may name one.
pub const RESERVED_APP: char = '$';

/// How many buckets a session table has. Part of the protocol between nodes.
pub const BUCKETS: usize = 1024;

/// A node's name, unique in its cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// The node called `name`.
    ///
    /// # Errors
    /// When it is not 1 to 128 letters, digits, `.`, `_` or `-`.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        let fits = !name.is_empty()
            && name.len() <= NAME_MAX
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(BadName { what: "node id" })
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number that stands for the node in stamps: FNV-1a of its name.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.0.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which session: the app it belongs to and its id without a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The app.
    pub app: Arc<str>,
    /// The id.
    pub id: Arc<str>,
}

impl SessionKey {
    /// A key a caller may use.
    ///
    /// # Errors
    /// When app or id are empty, too long, hold anything but visible ASCII, or the app is reserved.
    pub fn parse(app: &str, id: &str) -> Result<Self, BadName> {
        if !visible(app, NAME_MAX) || app.starts_with(RESERVED_APP) {
            return Err(BadName { what: "app" });
        }
        if !visible(id, ID_MAX) {
            return Err(BadName { what: "session id" });
        }
        Ok(Self {
            app: app.into(),
            id: id.into(),
        })
    }

    /// A key of the cluster's own.
    #[must_use]
    pub fn reserved(name: &str, id: &str) -> Self {
        Self {
            app: format!("{RESERVED_APP}{name}").into(),
            id: id.into(),
        }
    }

    /// The bucket the session lies in, the same on every node: FNV-1a over app, a zero byte and id.
    #[must_use]
    pub fn bucket(&self) -> usize {
        let bytes = self.app.bytes().chain([0]).chain(self.id.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
            (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        usize::try_from((hash ^ (hash >> 32)) & (BUCKETS as u64 - 1)).unwrap_or(0)
    }

    /// Whether this is one of the cluster's own.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.app.starts_with(RESERVED_APP)
    }

    /// Whether a key another node sent has a shape this node stores.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        visible(&self.app, NAME_MAX) && visible(&self.id, ID_MAX)
    }
}

fn visible(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A name that cannot be one. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: 1 to 128 visible ASCII characters (256 for a session id) are allowed")]
pub struct BadName {
    what: &'static str,
}
