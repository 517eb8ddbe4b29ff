//! The floor: time, names, limits, units, back-off. Uses nothing of ours, and everything may use it.

pub mod backoff;
pub mod clock;
pub mod id;
pub mod limits;
pub mod units;
