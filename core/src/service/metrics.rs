//! The numbers that metrics are made of. Copied while the engine's lock is held, at the cost of one look at each
//! member, peer and worker, however large the table is; written as text by whoever asked.

use limpet_wire::table::Worker;

use super::Service;
use super::status::{PeerStatus, TrafficStatus};
use crate::base::id::NodeId;
use crate::engine::{Counters, Phase};

/// See the module page.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Whether the node has the whole table.
    pub ready: bool,
    /// Whether it became ready without the whole table and has met nobody who has it since.
    pub incomplete: bool,
    /// Sessions in the table.
    pub sessions: usize,
    /// Tombstones in it.
    pub tombstones: usize,
    /// About what it costs, in bytes.
    pub table_bytes: usize,
    /// Callers waiting for copies.
    pub ack_waiters: usize,
    /// Sessions that wait to be handed off to the nodes that should hold them.
    pub misplaced: usize,
    /// How many milliseconds this node's wall clock is ahead of the cluster's time.
    pub clock_ahead_ms: i64,
    /// By how many it is ahead of the right time, while it is wrong; 0 while it is right.
    pub clock_wrong_ms: i64,
    /// How often peers said that they refused this node's stamps.
    pub stamp_refusals: u64,
    /// What the engine counted.
    pub counters: Counters,
    /// The other members, each with whether it is counted in, and by how many milliseconds its clock is ahead of this
    /// node's, where that is known.
    pub members: Vec<(NodeId, bool, Option<i64>)>,
    /// The nodes this one keeps changes for.
    pub peers: Vec<PeerStatus>,
    /// What passed between this node and each it was ever linked to.
    pub traffic: Vec<(NodeId, TrafficStatus)>,
    /// Every worker.
    pub workers: Vec<Worker>,
}

impl Service {
    /// The numbers as they are now. The longest time to acknowledge begins anew.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let traffic = self.node.traffic.all().into_iter();
        let traffic = traffic.map(|(node, traffic)| (node, TrafficStatus::taken_from(&traffic)));
        let traffic = traffic.collect();
        self.node.with(|engine, _| {
            let members = engine.roster().iter();
            let peers = engine.peers().iter();
            Metrics {
                ready: *engine.phase() == Phase::Ready,
                incomplete: engine.shortfall().is_some(),
                sessions: engine.sessions(),
                tombstones: engine.table().tombstones(),
                table_bytes: engine.table().bytes(),
                ack_waiters: engine.waiting(),
                misplaced: engine.misplaced_len(),
                clock_ahead_ms: engine.members().wall_clock_ahead_ms(),
                clock_wrong_ms: engine.members().wall_clock_error_ms().unwrap_or(0),
                stamp_refusals: engine.members().stamp_refusals(),
                counters: *engine.counters(),
                members: members
                    .map(|(node, member)| (node.clone(), member.active, engine.clock_drift_ms(node)))
                    .collect(),
                peers: peers.map(|(node, peer)| PeerStatus::of(node, peer)).collect(),
                traffic,
                workers: engine.workers().to_vec(),
            }
        })
    }
}
