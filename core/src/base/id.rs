//! The ids of nodes and the keys of sessions, as types of their own, so that one is never taken for the other.
//!
//! What a node or a session is belongs to [`crate::membership`] and [`crate::session`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use limpet_wire::report::{ID_MAX, NAME_MAX};
use smallvec::SmallVec;
use triomphe::ThinArc;

/// The first character of apps that are the cluster's own; no caller may name one.
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

    /// The number that stands for the node. See [`name_tag`].
    #[must_use]
    pub fn tag(&self) -> u64 {
        name_tag(&self.0)
    }
}

/// The number that stands for the node called `name` in stamps and among members: FNV-1a.
#[must_use]
pub fn name_tag(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    })
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

/// Which session: the app it belongs to and its id without a route. Ordered by app, then id.
///
/// It is looked up several times for each change and held in several places, so it is one pointer to one allocation,
/// which also holds its hash.
#[derive(Clone)]
pub struct SessionKey(ThinArc<Head, u8>);

/// The head of a key's text, which is app and id with a zero byte between, which neither can contain.
#[derive(Debug, Clone, Copy)]
struct Head {
    /// By a seed of this process's own, so that whoever chooses ids cannot choose which of them collide. It decides the
    /// order of hash tables only, and no output depends on that order.
    hash: u32,
    bucket: u16,
    app_len: u16,
}

/// Up to how many bytes a key's text is put together on the stack.
const SHORT: usize = 256;

impl SessionKey {
    /// The key of `id` in `app`, whatever they are.
    #[must_use]
    pub fn new(app: &str, id: &str) -> Self {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let mut text = SmallVec::<[u8; SHORT]>::new();
        text.extend_from_slice(app.as_bytes());
        text.push(0);
        text.extend_from_slice(id.as_bytes());
        let head = Head {
            hash: HASHER.hash_one(&*text) as u32, // any half of it will do
            bucket: bucket_of(&text),
            app_len: u16::try_from(app.len()).unwrap_or(u16::MAX),
        };
        Self(ThinArc::from_header_and_slice(head, &text))
    }

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
        Ok(Self::new(app, id))
    }

    /// A key that another node sent; `None` when no caller could have made it.
    #[must_use]
    pub fn received(app: &str, id: &str) -> Option<Self> {
        (visible(app, NAME_MAX) && visible(id, ID_MAX)).then(|| Self::new(app, id))
    }

    /// A key of the cluster's own.
    #[must_use]
    pub fn reserved(name: &str, id: &str) -> Self {
        Self::new(&format!("{RESERVED_APP}{name}"), id)
    }

    /// The app.
    #[must_use]
    pub fn app(&self) -> &str {
        let app = self.0.slice.get(..usize::from(self.head().app_len));
        encoded(app.unwrap_or_default())
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        let id = self.0.slice.get(usize::from(self.head().app_len) + 1..);
        encoded(id.unwrap_or_default())
    }

    /// How long the id is.
    #[must_use]
    pub fn id_len(&self) -> usize {
        let app_len = usize::from(self.head().app_len);
        self.0.slice.len().saturating_sub(app_len + 1)
    }

    /// The bucket the session lies in, the same on every node: FNV-1a over app, a zero byte and id.
    #[must_use]
    pub fn bucket(&self) -> usize {
        self.head().bucket.into()
    }

    /// Its hash in this process's tables.
    #[must_use]
    pub fn own_hash(&self) -> u64 {
        u64::from(self.head().hash).wrapping_mul(0x9e37_79b9_7f4a_7c15) // tables look at both ends of it
    }

    /// Whether this is one of the cluster's own.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.slice.starts_with(&[RESERVED_APP as u8])
    }

    fn head(&self) -> Head {
        self.0.header.header
    }
}

/// Bytes of a key, which were text before.
fn encoded(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn bucket_of(text: &[u8]) -> u16 {
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u16::try_from((hash ^ (hash >> 32)) & (BUCKETS as u64 - 1)).unwrap_or(0)
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ptr() == other.0.as_ptr()
            || (self.head().hash == other.head().hash && self.0.slice == other.0.slice)
    }
}

impl Eq for SessionKey {}

impl PartialOrd for SessionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SessionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.slice.cmp(&other.0.slice) // the zero byte sorts before everything a name can hold
    }
}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.own_hash());
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app(), self.id())
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
