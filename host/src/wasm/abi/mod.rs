//! The binary interface of proxy-wasm 0.2.1: its numbers, its layouts and guest memory, each written down once.
//!
//! This room knows nothing of exchanges, filters or host calls; whatever holds a guest implements
//! [`memory::HasGuest`].

pub mod memory; // reading and writing guest memory
pub mod numbers; // the enumerations
pub mod pairs; // how a header map crosses the border
