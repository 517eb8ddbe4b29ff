//! Admission: who may link to whom, judged by hellos. Both ends of a link judge the other's hello; the end that
//! accepted the link puts its verdict into its own hello, and the end that made it heeds that.
//!
//! Where an id is held by another process, that process is probed before the newcomer is refused: it may have died, or
//! stand still. Everything here is a decision on the engine and a hello; reading, writing and probing are left to the
//! daemon ([`super::handshake`]) and to the simulator.

use std::net::SocketAddr;

use super::error::{LinkError, Misconfigured, PeerMisbehaved};
use super::keeper::Dial;
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::engine::{Answer, Engine, Peer};
use crate::membership::{Identity, RosterFull};
use crate::net::hello::{Hello, Verdict};
use crate::replication::position::StreamId;
use crate::replication::streams::{CONTROL, STREAMS_MAX};

/// What a hello calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The verdict is known.
    Given(Verdict),
    /// The process at this address has the same id: [`on_probed`] judges once it is known whether that one is alive.
    Probe(SocketAddr),
}

/// This node's hello.
#[must_use]
pub fn hello_of(own: &Identity, domain: &str, knows: u64, stream: StreamId, verdict: Verdict) -> Hello {
    Hello {
        node: own.node.to_string(),
        domain: domain.to_owned(),
        incarnation: own.incarnation,
        addr: own.addr,
        knows,
        stream: stream.number(),
        verdict,
    }
}

/// What is wrong with a hello whatever else is known: it contradicts the certificate, which names `certified`, or no
/// node can send it.
///
/// # Errors
/// [`PeerMisbehaved`].
pub fn check(hello: &Hello, certified: &str) -> Result<NodeId, PeerMisbehaved> {
    if hello.node != certified {
        let (claimed, certified) = (hello.node.clone(), certified.to_owned());
        return Err(PeerMisbehaved::FalseId { claimed, certified });
    }
    if hello.stream >= STREAMS_MAX {
        return Err(PeerMisbehaved::StreamOutOfRange(hello.stream));
    }
    NodeId::parse(&hello.node).map_err(|error| PeerMisbehaved::InvalidId(error.to_string()))
}

/// Judges the hello of `peer` by what the engine knows of it.
#[must_use]
pub fn judge(engine: &Engine, domain: &str, hello: &Hello, peer: &NodeId) -> Judgement {
    let admissibility = match engine.linked_elsewhere(peer, hello.addr) {
        Some(holder) => Admissibility::LinkedAt(holder),
        None if engine.members().admits(peer).is_ok() => Admissibility::Admissible,
        None => Admissibility::Beyond,
    };
    judge_as(engine.identity(), domain, hello, admissibility)
}

/// What this node knows of the node that a hello names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admissibility {
    /// Nothing against it.
    Admissible,
    /// A process of its id is linked at this address, which is not the hello's.
    LinkedAt(SocketAddr),
    /// It is no member, and this node tracks as many as it can.
    Beyond,
}

/// Judges a hello, where `own` is this node, of `domain`.
fn judge_as(own: &Identity, domain: &str, hello: &Hello, admissibility: Admissibility) -> Judgement {
    if hello.domain != domain {
        return Judgement::Given(Verdict::OtherDomain);
    }
    if *hello.node == *own.node {
        // Of two processes with this node's id the one that began first stays.
        let later = hello.incarnation > own.incarnation;
        let holder = if later || is_itself(own, hello) {
            own.addr
        } else {
            hello.addr
        };
        return Judgement::Given(Verdict::IdTaken(holder));
    }
    match admissibility {
        Admissibility::Admissible => Judgement::Given(Verdict::Welcome),
        Admissibility::LinkedAt(holder) => Judgement::Probe(holder),
        Admissibility::Beyond => Judgement::Given(Verdict::Full),
    }
}

/// Whether the hello is this process's own, which reached itself by another of its addresses.
fn is_itself(own: &Identity, hello: &Hello) -> bool {
    *hello.node == *own.node && hello.addr == own.addr && hello.incarnation == own.incarnation
}

/// The process at `holder` was probed, because `peer` was said to be elsewhere as well. Where it is not `alive` its link
/// is given up.
pub fn on_probed(engine: &mut Engine, peer: &NodeId, holder: SocketAddr, alive: bool, now: Now) -> Verdict {
    if alive {
        return Verdict::IdTaken(holder);
    }
    engine.give_up_link(peer, now);
    Verdict::Welcome
}

/// Carries out this node's own `verdict` on `peer`.
///
/// # Errors
/// Why it is refused, if it is.
pub fn enforce(
    engine: &mut Engine,
    hello: &Hello,
    peer: &NodeId,
    verdict: Verdict,
    now: Now,
) -> Result<(), LinkError> {
    match verdict {
        Verdict::Welcome => Ok(()),
        Verdict::OtherDomain => Err(Misconfigured::OtherDomain(peer.clone()).into()),
        Verdict::Full => {
            engine.note_member_refused();
            Err(Misconfigured::Full(RosterFull).into())
        }
        Verdict::IdTaken(holder) => {
            let own = engine.identity();
            if !is_itself(own, hello) {
                if peer == engine.node() && holder != own.addr {
                    engine.id_taken(peer, holder, now);
                } else {
                    engine.duplicate_refused(peer, holder, hello.addr, now);
                }
            }
            let id = peer.clone();
            Err(Misconfigured::IdTaken { id, holder }.into())
        }
    }
}

/// Heeds the verdict in the hello by which `peer` answered `dial`.
///
/// # Errors
/// Why it refuses this node, if it does.
pub fn heed(
    engine: &mut Engine,
    dial: &Dial,
    hello: &Hello,
    peer: &NodeId,
    now: Now,
) -> Result<(), LinkError> {
    let answer = match hello.verdict {
        Verdict::Welcome => Some(Answer::Node(peer.clone())),
        Verdict::OtherDomain => Some(Answer::NotOurs),
        Verdict::IdTaken(_) if is_itself(engine.identity(), hello) => Some(Answer::NotOurs),
        Verdict::IdTaken(_) | Verdict::Full => None,
    };
    if let Some(answer) = answer {
        engine.answered(dial.addr, answer, now);
    }
    match hello.verdict {
        Verdict::Welcome => Ok(()),
        Verdict::OtherDomain => Err(Misconfigured::OtherDomain(peer.clone()).into()),
        Verdict::Full => Err(Misconfigured::PeerFull(peer.clone()).into()),
        Verdict::IdTaken(holder) => {
            let own = engine.identity();
            if !is_itself(own, hello) {
                if holder == own.addr {
                    engine.duplicate_refused(peer, holder, hello.addr, now);
                } else {
                    engine.id_taken(peer, holder, now);
                }
            }
            let id = engine.node().clone();
            Err(Misconfigured::IdTaken { id, holder }.into())
        }
    }
}

/// Both ends have nothing against the link of `dial`: it is up, unless it is needless or this node must dial again as
/// a later incarnation.
///
/// # Errors
/// [`LinkError::Outpaced`], [`LinkError::AlreadyLinked`], or [`PeerMisbehaved::OtherNode`].
pub fn link_up(
    engine: &mut Engine,
    dial: &Dial,
    hello: &Hello,
    peer: &NodeId,
    now: Now,
) -> Result<(), LinkError> {
    if let Some(expected) = dial.expected.as_ref().filter(|expected| *expected != peer) {
        let (expected, found) = (expected.clone(), peer.clone());
        return Err(PeerMisbehaved::OtherNode { expected, found }.into());
    }
    if engine.outpace(hello.knows, now) {
        return Err(LinkError::Outpaced);
    }
    if dial.stream == CONTROL && engine.peers().get(peer).is_some_and(Peer::is_linked) {
        return Err(LinkError::AlreadyLinked(peer.clone()));
    }
    let identity = Identity {
        node: hello.node.clone().into(),
        addr: hello.addr,
        incarnation: hello.incarnation,
    };
    engine.link_up(peer, identity, dial.stream, now);
    Ok(())
}

#[cfg(test)]
mod tests;
