//! The ground floor: clocks, ids, limits, units, back-off. Every other room may use it; it uses none of them.

pub mod backoff;
pub mod clock;
pub mod id;
pub mod limits;
pub mod units;
