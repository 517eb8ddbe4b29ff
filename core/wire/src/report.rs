//! The report: what a filter tells its core about sessions, and what the core answers.

use bincode::{Decode, Encode};

/// The most operations in one report; a filter with more sends another.
pub const OPERATIONS_MAX: usize = 4096;
/// The longest session id a filter reads or a core stores, in bytes.
pub const ID_MAX: usize = 256;
/// The longest app name, route or attribute name, in bytes.
pub const NAME_MAX: usize = 128;
/// The most attributes one session may have.
pub const ATTRIBUTES_MAX: usize = 1024;
/// The largest attribute value, in bytes.
pub const VALUE_MAX: usize = 1 << 20;

/// A batch of operations, applied in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Report {
    /// At most [`OPERATIONS_MAX`].
    pub operations: Vec<Operation>,
}

/// What happened to one session. Within an operation: invalidate first, then everything else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Operation {
    /// The app the session belongs to; `default` where none is named.
    pub app: String,
    /// The session id, without its route.
    pub id: String,
    /// The worker that served it. Binds an existing session; never creates one.
    pub route: Option<String>,
    /// The session was used. Never creates one.
    pub touch: bool,
    /// Attributes to set. Creates the session where there is none.
    pub set: Vec<(String, Vec<u8>)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime.
    pub max_inactive: Option<IdleLimit>,
    /// The session ended; every other field is ignored.
    pub invalidate: bool,
}

/// How long a session lives without being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum IdleLimit {
    /// It never ends by itself.
    Forever,
    /// It ends after this many milliseconds.
    Millis(u64),
}

/// The core's answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Reply {
    /// How many nodes, the core's own included, are known to hold every change of the report.
    pub copies: u32,
    /// The operations that were not applied, by index, each with a sentence.
    pub refused: Vec<(u32, String)>,
}
