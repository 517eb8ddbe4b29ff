//! What a node knows of itself and of the others, as plain values copied while the engine's lock is held.

use std::net::SocketAddr;
use std::time::Duration;

use super::{NodeError, Service, ServiceError};
use crate::base::id::NodeId;
use crate::drivers::traffic::{OneWay, Traffic};
use crate::engine::conditional::quorum::QuorumStatus;
use crate::engine::selfcheck::Selfcheck;
use crate::engine::{Peer, Phase};
use crate::membership::MemberState;
use crate::replication::position::StreamId;

/// The members of the cluster, as this node sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// This node.
    pub own: MemberStatus,
    /// What is wrong with this node, in a sentence: others refuse it, or it waited in vain for the table and has met nobody
    /// who has it since.
    pub own_problem: Option<String>,
    /// The others, ordered by name, each with the bytes of changes it has not acknowledged.
    pub others: Vec<(MemberStatus, usize)>,
    /// Those whose majority decides; `None` where none is needed.
    pub quorum: Option<QuorumStatus>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its name.
    pub node: String,
    /// Where it listens for others.
    pub addr: SocketAddr,
    /// How it is.
    pub state: MemberState,
    /// Which start of it this is; a later one is greater.
    pub incarnation: u64,
}

/// What this node keeps for one other node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which one.
    pub node: NodeId,
    /// Whether the first stream is up.
    pub linked: bool,
    /// Whether each stream is up.
    pub streams: Vec<bool>,
    /// Bytes of changes it has not acknowledged.
    pub queue_bytes: usize,
    /// Changes for it that were dropped.
    pub dropped: u64,
    /// Repairs begun because its table differed.
    pub repairs: u64,
    /// Sessions found different in the last repair; 0 once tables are equal.
    pub mismatched_sessions: u64,
}

/// Messages one way since this node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes as frames, compressed where they were, without TLS.
    pub wire_bytes: u64,
}

/// What passes between this node and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficStatus {
    /// To it.
    pub sent: Flow,
    /// From it.
    pub received: Flow,
    /// How often the first link to it was made again.
    pub reconnects: u64,
    /// How long it takes to acknowledge a batch, a moving average.
    pub ack_average: Duration,
    /// The longest it took since metrics were last read.
    pub ack_longest: Duration,
}

/// A summary of the session table, equal on nodes that hold the same sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// How many sessions.
    pub sessions: usize,
    /// A hash of all of them.
    pub hash: u64,
}

impl Service {
    /// Whether sessions may be read and changed here, and this node needs nobody's attention: one whose wall clock is
    /// wrong goes on by the cluster's time, and says so.
    ///
    /// # Errors
    /// [`NodeError::NotReady`] with the reason.
    pub fn check_ready(&self) -> Result<(), NodeError> {
        let problem = |engine: &crate::engine::Engine| {
            engine.not_ready_reason().or_else(|| engine.wall_clock_problem())
        };
        let reason = self.node.with(|engine, _| problem(engine));
        reason.map_or(Ok(()), |reason| Err(NodeError::NotReady(reason)))
    }

    /// Why a part of the table may be missing here though the node is ready, in a sentence.
    #[must_use]
    pub fn shortfall(&self) -> Option<String> {
        self.node.with(|engine, _| engine.shortfall().map(str::to_owned))
    }

    /// Every member.
    #[must_use]
    pub fn members(&self) -> Members {
        self.node.with(|engine, _| {
            let own = engine.identity();
            let others = engine.roster().iter().map(|(node, member)| {
                let status = MemberStatus {
                    node: node.to_string(),
                    addr: member.identity.addr,
                    state: member.state(),
                    incarnation: member.identity.incarnation,
                };
                let queue = engine.peers().get(node).map_or(0, |peer| peer.outboxes().bytes());
                (status, queue)
            });
            Members {
                own: MemberStatus {
                    node: own.node.to_string(),
                    addr: own.addr,
                    state: match engine.phase() {
                        Phase::Joining { .. } => MemberState::Joining,
                        Phase::Ready => MemberState::Ready,
                        Phase::Leaving => MemberState::Left,
                    },
                    incarnation: own.incarnation,
                },
                own_problem: engine
                    .duplicate_problem()
                    .or_else(|| engine.wall_clock_problem())
                    .or_else(|| engine.shortfall().map(str::to_owned)),
                others: others.collect(),
                quorum: engine.quorum_status(),
            }
        })
    }

    /// An operator says that the member called `id` is dead: it does not count towards the majority any more.
    ///
    /// # Errors
    /// [`super::CallerError::NoSuchMember`], [`super::CallerError::MemberAlive`],
    /// [`super::CallerError::NothingToForget`], [`super::CallerError::BadName`].
    pub fn forget_member(&self, id: &str) -> Result<(), ServiceError> {
        let node = NodeId::parse(id).map_err(super::CallerError::from)?;
        Ok(self.node.with(|engine, _| engine.forget_member(&node))?)
    }

    /// Every node this one keeps changes for, and what passes between them.
    #[must_use]
    pub fn peers(&self) -> Vec<(PeerStatus, TrafficStatus)> {
        let peers: Vec<_> = self.node.with(|engine, _| {
            let peers = engine.peers().iter();
            peers.map(|(node, peer)| PeerStatus::of(node, peer)).collect()
        });
        let traffic = self.node.traffic.all();
        let with_traffic = |peer: PeerStatus| {
            let traffic = traffic.get(&peer.node).map(|traffic| TrafficStatus::of(traffic));
            (peer, traffic.unwrap_or_default())
        };
        peers.into_iter().map(with_traffic).collect()
    }

    /// The digest of the table.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.node.with(|engine, _| Digest {
            sessions: engine.sessions(),
            hash: engine.table().digests().fold(0, |sum, digest| sum ^ digest),
        })
    }

    /// Counts again, from the records, what is kept count of. Looks at every record, and lets other callers in between.
    pub async fn selfcheck(&self) -> Selfcheck {
        let mut check = Selfcheck::default();
        while self.node.with(|engine, _| engine.selfcheck_step(&mut check)) {
            tokio::task::yield_now().await; // a check is many short holds of the lock
        }
        check
    }
}

impl PeerStatus {
    pub(super) fn of(node: &NodeId, peer: &Peer) -> Self {
        let streams = StreamId::first(peer.outboxes().streams());
        Self {
            node: node.clone(),
            linked: peer.is_linked(),
            streams: streams.map(|stream| peer.is_up(stream)).collect(),
            queue_bytes: peer.outboxes().bytes(),
            dropped: peer.outboxes().dropped(),
            repairs: peer.repairs(),
            mismatched_sessions: peer.mismatched_sessions(),
        }
    }
}

impl TrafficStatus {
    fn of(traffic: &Traffic) -> Self {
        Self::with_ack_time(traffic, traffic.ack_time())
    }

    /// The same; the longest time to acknowledge begins anew.
    pub(super) fn taken_from(traffic: &Traffic) -> Self {
        Self::with_ack_time(traffic, traffic.take_ack_time())
    }

    fn with_ack_time(traffic: &Traffic, time: crate::drivers::traffic::AckTime) -> Self {
        Self {
            sent: Flow::of(&traffic.sent),
            received: Flow::of(&traffic.received),
            reconnects: traffic.reconnects(),
            ack_average: time.average,
            ack_longest: time.longest,
        }
    }
}

impl Flow {
    fn of(way: &OneWay) -> Self {
        Self {
            messages: way.messages(),
            bytes: way.bytes(),
            wire_bytes: way.wire_bytes(),
        }
    }
}
