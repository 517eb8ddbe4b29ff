//! The session as a mergeable value: a CRDT made of last-writer-wins registers, and the clock that stamps them.
//!
//! [`Record`] is a join-semilattice (Shapiro et al. 2011). A delta is a small record, so applying a delta, a chunk of
//! a state transfer or a repair is one operation, [`Record::join`]: commutative, associative and idempotent. A
//! snapshot and a live stream may therefore overlap in any order, and a message that arrives twice changes nothing.
//! What a change under one id means for the records of other ids, because sessions are renamed, is [`Consequences`].
//!
//! Storage belongs to [`crate::store`], bytes on the wire to [`crate::replication`], and reading a clock to
//! [`crate::base::clock`].

mod attribute_filter;
mod attributes;
mod change;
mod fate;
mod hlc;
mod identity;
mod lifecycle;
mod record;
mod register;
mod restamp;
mod stamp;

pub use attribute_filter::{AttributeFilter, BadPattern};
pub use attributes::{Attribute, Attributes, Value};
pub use change::{Change, Condition, Patch};
pub use fate::{FATES_MAX, Fate, Fates, Renamed};
pub use hlc::{Hlc, TooFarAhead};
pub use identity::{Consequences, ForOther};
pub use lifecycle::{Lifecycle, LifecycleBox, Name, Origin, Touch};
pub use record::Record;
pub use register::Register;
pub use restamp::Shift;
pub use stamp::Stamp;
