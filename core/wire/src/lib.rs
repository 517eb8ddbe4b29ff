//! What Limpet's filters and daemons must agree on, and nothing else.
//!
//! The filters (wasm) and the daemons (native) exchange three things: the [`table`] of workers, which a core
//! serves; the [`report`] of what happened to sessions, which a filter sends; and the [`token`], which one filter
//! seals and any other opens. [`placement`] says on both sides which nodes hold a copy of a session. [`codec`] is
//! the only module that knows how the first two become bytes.
//!
//! Deliberately absent: sockets, clocks, randomness, JSON, and anything a daemon says only to another daemon.

pub mod codec;
pub mod names;
pub mod placement;
pub mod report;
pub mod table;
pub mod token;
