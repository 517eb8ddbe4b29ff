//! What a session is, as a value that merges: no storage, no network, no clock of its own.
//!
//! [`Record`] is a join-semilattice, and a delta is a small record: applying a delta, a chunk of a state transfer
//! or a repair are the same operation, [`Record::join`], which is commutative, associative and idempotent. So a
//! snapshot and a live stream may overlap in any order, and a message that arrives twice does nothing.

mod attribute_filter;
mod attributes;
mod ending;
mod hlc;
mod record;
mod register;
mod stamp;

pub use attribute_filter::{AttributeFilter, BadPattern};
pub use attributes::{Attribute, Attributes, Value};
pub use ending::{Endings, Moved, Past, Touch};
pub use hlc::{Hlc, TooFarAhead};
pub use record::Record;
pub use register::Register;
pub use stamp::Stamp;
