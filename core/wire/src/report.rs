//! The session report: a batch of operations that a filter sends to its core, and the core's reply.
//!
//! The limits here hold for both sides: a filter drops what exceeds them, and a core refuses it. How operations merge
//! into sessions is `limpet-core`'s part; bytes are [`crate::codec`]'s.

use bincode::{Decode, Encode};

/// The most operations in one report; a filter that has more sends another report.
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

/// What happened to one session in one response.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Operation {
    /// The app the session belongs to; `default` where none is named.
    pub app: String,
    /// The session id, without its route.
    pub id: String,
    /// The route of the worker that served it. Binds an existing session to it; creates none.
    pub route: Option<String>,
    /// A request of the session was served, which renews its idle lifetime. Creates no session.
    pub touch: bool,
    /// Attributes to set, as name and value. Creates the session where there is none.
    pub set: Vec<(String, Vec<u8>)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime from now on.
    pub max_inactive: Option<IdleLimit>,
    /// The session is deleted; every other field but `began_ms` is ignored.
    pub invalidate: bool,
    /// When the request began, on the core's clock as [`crate::names::CORE_TIME`] tells it: milliseconds since 1970.
    /// Should the session have been deleted since then, the operation changes nothing: the request was one of the
    /// session that ended. `None` where it is not known.
    pub began_ms: Option<u64>,
}

/// How long a session lives without a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum IdleLimit {
    /// It never expires.
    Forever,
    /// It expires after this many milliseconds.
    Millis(u64),
}

/// The core's answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Reply {
    /// How many nodes, the core's own included, are known to hold every change of the report.
    pub copies: u32,
    /// The operations that were not applied: index in the report, and a sentence that says why.
    pub refused: Vec<(u32, String)>,
}
