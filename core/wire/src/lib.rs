//! The contract between Limpet's filters (wasm) and its daemons (native): types, encodings, names, placement.
//!
//! They exchange three things: the [`table`] of workers, which a core serves; the [`report`] of what happened to
//! sessions, which a filter sends; and the [`token`], which one filter seals and any other opens. [`placement`]
//! computes on both sides which nodes hold a copy of a session. [`codec`] encodes table, report and claims; [`names`]
//! holds header names and API paths.
//!
//! Deliberately absent: sockets, clocks, randomness, JSON, and messages between daemons (`limpet-core`'s own).

pub mod codec;
pub mod names;
pub mod placement;
pub mod report;
pub mod table;
pub mod token;
