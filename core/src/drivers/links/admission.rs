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
use crate::engine::{Engine, Peer};
use crate::membership::Identity;
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

/// Judges the hello of `peer`. `own` is this node, of `domain`; `linked_at` is where a process of the peer's id is
/// linked, if that is another address than the hello's.
#[must_use]
pub fn judge(own: &Identity, domain: &str, hello: &Hello, linked_at: Option<SocketAddr>) -> Judgement {
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
    linked_at.map_or(Judgement::Given(Verdict::Welcome), Judgement::Probe)
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

/// Heeds the verdict in the hello by which `peer` answered.
///
/// # Errors
/// Why it refuses this node, if it does.
pub fn heed(engine: &mut Engine, hello: &Hello, peer: &NodeId, now: Now) -> Result<(), LinkError> {
    match hello.verdict {
        Verdict::Welcome => Ok(()),
        Verdict::OtherDomain => Err(Misconfigured::OtherDomain(peer.clone()).into()),
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
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 4000))
    }

    fn identity(node: &str, last: u8, incarnation: u64) -> Identity {
        Identity {
            node: node.into(),
            addr: addr(last),
            incarnation,
        }
    }

    fn hello(node: &str, last: u8, incarnation: u64) -> Hello {
        hello_of(
            &identity(node, last, incarnation),
            "blue",
            0,
            CONTROL,
            Verdict::Welcome,
        )
    }

    #[test]
    fn hellos_are_judged_by_domain_then_id_then_whether_the_id_is_linked_elsewhere() {
        use Judgement::{Given, Probe};
        let own = identity("a", 1, 100);
        let judged = |domain: &str, hello: &Hello, linked_at| judge(&own, domain, hello, linked_at);
        let stranger = hello("b", 2, 50);
        assert_eq!(judged("blue", &stranger, None), Given(Verdict::Welcome));
        assert_eq!(judged("blue", &stranger, Some(addr(3))), Probe(addr(3)));
        assert_eq!(
            judged("green", &stranger, Some(addr(3))),
            Given(Verdict::OtherDomain)
        );
        let cases = [
            ("itself", hello("a", 1, 100), addr(1)),
            ("a later process of its id", hello("a", 2, 101), addr(1)),
            ("an earlier process of its id", hello("a", 2, 99), addr(2)),
        ];
        for (what, hello, holder) in cases {
            let verdict = judged("blue", &hello, None);
            assert_eq!(verdict, Given(Verdict::IdTaken(holder)), "{what}");
        }
    }

    #[test]
    fn a_hello_that_contradicts_its_certificate_or_that_no_node_sends_is_misbehaviour() {
        let good = hello("b", 2, 50);
        assert_eq!(check(&good, "b").unwrap().as_str(), "b");
        assert!(matches!(check(&good, "c"), Err(PeerMisbehaved::FalseId { .. })));
        let mut beyond = good.clone();
        beyond.stream = STREAMS_MAX;
        assert!(matches!(
            check(&beyond, "b"),
            Err(PeerMisbehaved::StreamOutOfRange(STREAMS_MAX))
        ));
        let mut nameless = good;
        nameless.node = String::new();
        assert!(matches!(check(&nameless, ""), Err(PeerMisbehaved::InvalidId(_))));
    }
}
