//! The ground floor: the allocator, clocks, ids, maps and queues, limits, units, back-off. Every other room may use it; it uses none of them.

pub mod allocator;
pub mod backoff;
pub mod by_session;
pub mod clock;
pub mod id;
pub mod limits;
pub mod queue;
pub mod units;
