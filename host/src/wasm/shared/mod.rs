//! What the guests of all threads have in common: shared data, queues and metrics.
//!
//! Locks here are taken by ticks, call-outs and definitions; counting a metric takes none.

use std::sync::Arc;

pub mod data;
pub mod metric;
pub mod queue;

/// One set per process.
#[derive(Debug, Default)]
pub struct Shared {
    /// Key-value data, one space per `vm_id`.
    pub data: data::Spaces,
    /// Queues.
    pub queues: queue::Queues,
    /// The metrics guests define.
    pub metrics: Arc<metric::Metrics>,
}
