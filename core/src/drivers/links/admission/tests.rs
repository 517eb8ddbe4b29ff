//! Claims about admission: verdicts on hellos, and what an engine makes of them.

use std::collections::BTreeSet;
use std::time::Duration;

use limpet_wire::report::IdleLimit;

use super::*;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::{ClockLimits, EngineConfig, Mode};
use crate::membership::SwimConfig;

const NOW: Now = Now {
    wall_ms: 100,
    mono: Duration::ZERO,
};

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
fn hellos_are_judged_by_domain_then_id_then_what_is_known_of_the_peer() {
    use Judgement::{Given, Probe};
    let own = identity("a", 1, 100);
    let judged = |domain: &str, hello: &Hello, admissibility| judge_as(&own, domain, hello, admissibility);
    let elsewhere = Admissibility::LinkedAt(addr(3));
    let stranger = hello("b", 2, 50);
    assert_eq!(
        judged("blue", &stranger, Admissibility::Admissible),
        Given(Verdict::Welcome)
    );
    assert_eq!(judged("blue", &stranger, elsewhere), Probe(addr(3)));
    assert_eq!(
        judged("blue", &stranger, Admissibility::Beyond),
        Given(Verdict::Full)
    );
    for admissibility in [Admissibility::Admissible, elsewhere, Admissibility::Beyond] {
        assert_eq!(
            judged("green", &stranger, admissibility),
            Given(Verdict::OtherDomain)
        );
    }
    let cases = [
        ("itself", hello("a", 1, 100), addr(1)),
        ("a later process of its id", hello("a", 2, 101), addr(1)),
        ("an earlier process of its id", hello("a", 2, 99), addr(2)),
    ];
    for (what, hello, holder) in cases {
        let verdict = judged("blue", &hello, Admissibility::Beyond);
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

fn id(node: &str) -> NodeId {
    NodeId::parse(node).unwrap()
}

/// The engine of node a, which listens at `addr(1)` and began at 100.
fn engine() -> Engine {
    let config = EngineConfig {
        node: id("a"),
        cluster: "shop".into(),
        addr: addr(1),
        swim: SwimConfig {
            probe_interval: Duration::from_millis(500),
            drop_time: Duration::from_secs(3),
        },
        seeds: BTreeSet::new(),
        hints: false,
        links: 1,
        mode: Mode::Delta,
        quorum_founders: None,
        queue_bytes: 1 << 20,
        donor_transfers: 1,
        repair_interval: Duration::from_secs(5),
        state_transfer_timeout: Some(Duration::from_secs(60)),
        max_inactive: IdleLimit::Forever,
        max_active: None,
        touch_interval: Duration::from_secs(60),
        tombstone_life: Duration::from_secs(3600),
        rename_forward: Duration::from_secs(30),
        clocks: ClockLimits::default(),
        quarantine: BTreeSet::new(),
        fail_on_id: None,
        workers: Vec::new(),
        seed: 7,
    };
    Engine::new(config, NOW)
}

fn dial(expected: Option<&str>) -> Dial {
    Dial {
        attempt: 1,
        addr: addr(2),
        stream: CONTROL,
        expected: expected.map(id),
    }
}

#[test]
fn of_two_processes_with_one_id_the_refused_one_is_reported_where_it_is_refused() {
    // The verdict's holder, whose hello it is, and what is reported: a refused newcomer, or that this node's id is taken.
    let cases = [
        ("b's holder stays", "b", 2, addr(3), 1, false),
        ("this node stays", "a", 2, addr(1), 1, false),
        ("the other stays", "a", 2, addr(2), 0, true),
        ("this node reached itself", "a", 1, addr(1), 0, false),
    ];
    for (what, node, last, holder, refused, taken) in cases {
        let mut engine = engine();
        let from = hello(node, last, 100);
        let error = enforce(&mut engine, &from, &id(node), Verdict::IdTaken(holder), NOW).unwrap_err();
        assert!(
            matches!(error, LinkError::Misconfigured(Misconfigured::IdTaken { .. })),
            "{what}"
        );
        assert_eq!(engine.counters().duplicate_ids, refused, "{what}");
        assert_eq!(engine.duplicate_problem().is_some(), taken, "{what}");
    }
}

#[test]
fn a_node_that_is_refused_for_its_id_says_so_unless_it_reached_itself() {
    // Who answers from where, the holder in its verdict, and what is reported.
    let cases = [
        ("refused by b", "b", 2, addr(9), 0, true),
        ("this node is the holder", "a", 2, addr(1), 1, false),
        ("this node reached itself", "a", 1, addr(1), 0, false),
    ];
    for (what, node, last, holder, refused, taken) in cases {
        let mut engine = engine();
        let mut answer = hello(node, last, 100);
        answer.verdict = Verdict::IdTaken(holder);
        let error = heed(&mut engine, &dial(None), &answer, &id(node), NOW).unwrap_err();
        assert!(
            error.to_string().starts_with("the id a belongs"),
            "{what}: {error}"
        );
        assert_eq!(engine.counters().duplicate_ids, refused, "{what}");
        assert_eq!(engine.duplicate_problem().is_some(), taken, "{what}");
    }
}

#[test]
fn a_link_comes_up_once_and_only_with_the_node_that_was_expected() {
    let mut engine = engine();
    let b = hello("b", 2, 50);
    let other = link_up(&mut engine, &dial(Some("c")), &b, &id("b"), NOW);
    assert!(matches!(
        other,
        Err(LinkError::PeerMisbehaved(PeerMisbehaved::OtherNode { .. }))
    ));
    let mut later = b.clone();
    later.knows = 200;
    let outpaced = link_up(&mut engine, &dial(None), &later, &id("b"), NOW);
    assert!(matches!(outpaced, Err(LinkError::Outpaced)));
    assert!(engine.identity().incarnation > 200);
    link_up(&mut engine, &dial(None), &b, &id("b"), NOW).unwrap();
    assert!(engine.peers()[&id("b")].is_linked());
    let again = link_up(&mut engine, &dial(None), &b, &id("b"), NOW);
    assert!(matches!(again, Err(LinkError::AlreadyLinked(_))));
}

#[test]
fn the_link_of_a_process_that_is_gone_is_given_up_for_its_successor() {
    let mut engine = engine();
    link_up(&mut engine, &dial(None), &hello("b", 2, 50), &id("b"), NOW).unwrap();
    let newcomer = hello("b", 3, 60);
    assert_eq!(
        judge(&engine, "blue", &newcomer, &id("b")),
        Judgement::Probe(addr(2))
    );
    let alive = on_probed(&mut engine, &id("b"), addr(2), true, NOW);
    assert_eq!(alive, Verdict::IdTaken(addr(2)));
    assert!(engine.peers()[&id("b")].is_linked());
    let gone = on_probed(&mut engine, &id("b"), addr(2), false, NOW);
    assert_eq!(gone, Verdict::Welcome);
    assert_eq!(
        judge(&engine, "blue", &newcomer, &id("b")),
        Judgement::Given(Verdict::Welcome)
    );
}

#[test]
fn a_node_beyond_the_members_there_may_be_is_refused_and_counted() {
    let mut engine = engine();
    for number in 0..MEMBERS_MAX {
        let node = format!("n{number:04}");
        link_up(&mut engine, &dial(None), &hello(&node, 2, 50), &id(&node), NOW).unwrap();
    }
    let late = hello("late", 3, 50);
    let full = Judgement::Given(Verdict::Full);
    assert_eq!(judge(&engine, "blue", &late, &id("late")), full);
    let error = enforce(&mut engine, &late, &id("late"), Verdict::Full, NOW).unwrap_err();
    assert!(error.to_string().contains("1024 members"), "{error}");
    assert_eq!(engine.counters().members_refused, 1);
    let known = judge(&engine, "blue", &hello("n0000", 2, 50), &id("n0000"));
    assert_eq!(known, Judgement::Given(Verdict::Welcome));
}
