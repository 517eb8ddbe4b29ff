//! Membership of whole clusters: processes that end, connections that are refused in a member's name, cuts of any
//! length, restarts in a row, clocks, and ids that two processes claim.
//!
//! Membership alone is tested in [`crate::engine::members`].

use super::*;
use crate::base::limits::{INBOUND_MAX, MEMBERS_MAX};
use crate::membership::{Identity, MemberMessage, MemberState};

impl Cluster {
    fn state(&self, at: &str, of: &str) -> MemberState {
        self.engines[&node(at)].roster().get(&node(of)).unwrap().state()
    }

    fn assert_all_ready(&self) {
        for (at, of) in self.pairs() {
            let state = self.state(at.as_str(), of.as_str());
            assert_eq!(state, MemberState::Ready, "{of} as {at} sees it");
        }
    }

    /// The process is gone, its links with it, and its address refuses whoever dials it.
    fn kill(&mut self, name: &str) {
        let id = node(name);
        self.engines.remove(&id);
        self.timers.retain(|(_, owner, _)| *owner != id);
        self.links.retain(|(from, to, _), _| *from != id && *to != id);
        let now = self.now();
        for engine in self.engines.values_mut() {
            engine.link_down(&id, CONTROL, false, now);
            engine.link_down(&id, CONTROL, true, now);
        }
    }
}

#[test]
fn a_process_that_died_is_known_to_be_gone_without_any_time_passing() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d"]);
    cluster.kill("c");
    cluster.settle();
    for at in ["a", "b", "d"] {
        assert_eq!(cluster.state(at, "c"), MemberState::Down, "at {at}");
    }
}

#[test]
fn with_nobody_to_ask_a_refused_connection_confirms_a_failure() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.kill("b");
    assert_eq!(cluster.state("a", "b"), MemberState::Down);
}

#[test]
fn a_connection_refused_on_one_path_is_no_failure_where_others_reach_the_member() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let before = cluster.engines[&node("c")].identity().clone();
    cluster.part(&["a"], &["c"]);
    let now = cluster.now();
    for (at, of) in [("a", "c"), ("c", "a")] {
        cluster
            .engines
            .get_mut(&node(at))
            .unwrap()
            .link_down(&node(of), CONTROL, true, now);
    }
    cluster.run(Duration::from_secs(20));
    assert_eq!(
        cluster.state("a", "c"),
        MemberState::Suspect,
        "no link, but a member"
    );
    assert_eq!(cluster.state("b", "c"), MemberState::Ready);
    assert_eq!(
        *cluster.engines[&node("c")].identity(),
        before,
        "it never had to join again"
    );
    cluster.heal();
    cluster.run(Duration::from_secs(2));
    cluster.assert_all_ready();
}

#[test]
fn a_probe_that_is_not_answered_delays_the_decision_by_a_moment_only() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    // Nothing arrives at b any more, but its links are up.
    for (from, to) in cluster.pairs() {
        if to == node("b") {
            cluster.unlink(&from, &to);
        }
    }
    cluster
        .cut
        .extend([(node("a"), node("b")), (node("c"), node("b"))]);
    cluster.kill("c");
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.state("a", "c"), MemberState::Down);
}

#[test]
fn silence_is_found_within_drop_time_though_every_link_looks_up() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d", "e"]);
    for (from, to) in cluster.pairs() {
        if from == node("e") || to == node("e") {
            cluster.unlink(&from, &to);
            cluster.cut.insert((from, to));
        }
    }
    cluster.run(Duration::from_secs(3));
    for at in ["a", "b", "c", "d"] {
        assert_eq!(cluster.state(at, "e"), MemberState::Down, "at {at}");
        assert!(
            cluster.engines[&node(at)]
                .peers()
                .get(&node("e"))
                .is_some_and(Peer::is_linked)
        );
    }
    // Nothing arrives at e either, and it declares all others down.
    cluster.heal();
    cluster.run(Duration::from_secs(5));
    cluster.assert_all_ready();
}

#[test]
fn a_node_that_stood_still_itself_blames_nobody() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let before = cluster.engines[&node("b")].identity().clone();
    let later = Now {
        wall_ms: cluster.now().wall_ms + 10_000,
        mono: cluster.now().mono + Duration::from_secs(10),
    };
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    a.tick(later);
    assert!(a.roster().get(&node("b")).unwrap().active);
    cluster.elapsed += Duration::from_secs(10);
    cluster.run(Duration::from_secs(5));
    cluster.assert_all_ready();
    assert_eq!(*cluster.engines[&node("b")].identity(), before);
}

#[test]
fn a_member_that_is_silent_to_one_node_stays_one_where_others_hear_it() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let before = cluster.engines[&node("c")].identity().clone();
    // What c sends to a gets lost, though both links look up.
    cluster.unlink(&node("c"), &node("a"));
    cluster.cut.insert((node("c"), node("a")));
    cluster.run(Duration::from_secs(30));
    assert_eq!(cluster.state("a", "c"), MemberState::Ready);
    assert_eq!(*cluster.engines[&node("c")].identity(), before);
}

#[test]
fn a_cut_of_ten_minutes_heals_by_itself() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d", "e"]);
    cluster.part(&["a", "b"], &["c", "d", "e"]);
    cluster.patch("a", "S1", set("v", "left"));
    cluster.patch("e", "S2", set("v", "right"));
    cluster.run(Duration::from_secs(600));
    assert_eq!(cluster.state("a", "e"), MemberState::Down);
    assert_eq!(cluster.state("e", "a"), MemberState::Down);
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    cluster.assert_all_ready();
    cluster.assert_converged();
    assert_eq!(cluster.value("d", "S1", "v").as_deref(), Some("left"));
}

#[test]
fn a_link_that_comes_and_goes_gives_nobody_up_for_good() {
    for period_ms in [100, 700, 1500, 4000] {
        let mut cluster = Cluster::of(&["a", "b", "c"]);
        let period = Duration::from_millis(period_ms);
        for round in 0..20 {
            cluster.part(&["a"], &["b", "c"]);
            cluster.run(period);
            cluster.patch("a", "S", set("v", &round.to_string()));
            cluster.heal();
            cluster.run(period);
        }
        cluster.run(Duration::from_secs(10));
        cluster.assert_all_ready();
        cluster.assert_converged();
    }
}

#[test]
fn five_restarts_within_drop_time_leave_the_latest_incarnation() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    cluster.patch("a", "S1", set("v", "1"));
    for _ in 0..5 {
        cluster.start("c");
        cluster.run(Duration::from_millis(300));
    }
    cluster.run(Duration::from_secs(5));
    cluster.assert_all_ready();
    cluster.assert_converged();
    let latest = cluster.engines[&node("c")].identity().clone();
    for at in ["a", "b"] {
        let known = &cluster.engines[&node(at)]
            .roster()
            .get(&node("c"))
            .unwrap()
            .identity;
        assert_eq!(*known, latest, "at {at}");
    }
}

#[test]
fn a_node_restarted_with_an_earlier_clock_passes_its_former_incarnation_at_once() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let former = cluster.engines[&node("c")].identity().incarnation;
    cluster.start_at("c", BEGIN_MS - 3_600_000);
    cluster.run(Duration::from_secs(10));
    let now = cluster.engines[&node("c")].identity().incarnation;
    assert!((former + 1..former + 10).contains(&now), "{now} after {former}");
    cluster.assert_all_ready();
}

#[test]
fn a_former_incarnation_that_only_others_know_of_is_passed_at_once_too() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let former = cluster.engines[&node("c")].identity().incarnation;
    // a is new and has never heard of c; only b has, which c cannot reach.
    cluster
        .cut
        .extend([(node("b"), node("c")), (node("c"), node("b"))]);
    cluster.kill("c");
    cluster.start("a");
    cluster.start_at("c", BEGIN_MS - 3_600_000);
    cluster.run(Duration::from_secs(5));
    let now = cluster.engines[&node("c")].identity().incarnation;
    assert!((former + 1..former + 10).contains(&now), "{now} after {former}");
    assert!(
        cluster.engines[&node("b")]
            .roster()
            .get(&node("c"))
            .unwrap()
            .active
    );
}

#[test]
fn with_more_members_than_are_asked_at_a_time_every_clock_is_measured() {
    let names: Vec<_> = (0..20).map(|n| format!("n{n:02}")).collect();
    let mut cluster = Cluster::new();
    for name in &names {
        cluster.start(name);
    }
    cluster.run(Duration::from_secs(12));
    let engine = &cluster.engines[&node("n00")];
    let known = engine.roster().iter();
    let measured = known.filter(|(peer, _)| engine.clock_drift_ms(peer).is_some());
    assert_eq!(measured.count(), 19);
}

#[test]
fn a_clock_that_differs_is_measured() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.engines[&node("a")].clock_drift_ms(&node("b")), Some(0));
    let on = cluster.links[&(node("b"), node("a"), CONTROL)];
    let now = cluster.now();
    let message = MemberMessage::ClockReply {
        asked_ms: now.mono_ms(),
        now_ms: now.wall_ms + 5000,
        time: None,
    };
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    engine.on_message(&node("b"), on, message::Message::Gossip(message.encode()), now);
    assert_eq!(engine.clock_drift_ms(&node("b")), Some(5000));
}

#[test]
fn a_node_whose_id_is_taken_is_not_ready_and_says_why() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    let a = node("a");
    let (holder, now) = ("10.0.0.9:4000".parse().unwrap(), cluster.now());
    let mut second = Engine::new(
        EngineConfig {
            seeds: ["seed".to_owned()].into(),
            ..cluster.engines[&a].config().clone()
        },
        now,
    );
    second.id_taken(&node("b"), holder, now);
    second.seed_resolved("seed", &[addr_of("x")], now);
    second.unreachable(addr_of("x"), true, now);
    assert!(second.not_ready_reason().unwrap().contains("10.0.0.9:4000"));
    let later = Now {
        mono: now.mono + Duration::from_secs(11),
        ..now
    };
    second.tick(later);
    assert_eq!(second.not_ready_reason(), None, "nobody says so any more");
}

#[test]
fn an_id_belongs_to_the_process_that_is_there() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let (now, elsewhere) = (cluster.now(), "10.9.9.9:4000".parse().unwrap());
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let holder = engine.linked_elsewhere(&node("b"), elsewhere).unwrap();
    engine.duplicate_refused(&node("b"), holder, elsewhere, now);
    assert_eq!(engine.counters().duplicate_ids, 1);
    engine.give_up_link(&node("b"), now);
    assert_eq!(
        engine.linked_elsewhere(&node("b"), elsewhere),
        None,
        "it may come"
    );
    let outputs = engine.take_outputs();
    let closed = |output: &Output| matches!(output, Output::Close(peer, CONTROL) if *peer == node("b"));
    assert!(outputs.iter().any(closed), "{outputs:?}");
}

#[test]
fn a_node_that_took_a_later_incarnation_and_was_cut_off_at_once_finds_that_nobody_is_there() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let known = engine.identity().incarnation;
    assert!(engine.outpace(known + 1, now));
    cluster.part(&["a"], &["b", "c"]);
    cluster.run(Duration::from_secs(10));
    for of in ["b", "c"] {
        assert_eq!(cluster.state("a", of), MemberState::Down, "{of}");
    }
}

#[test]
fn an_incarnation_that_was_linked_and_never_heard_of_again_is_no_member() {
    for down_while_linked in [false, true] {
        let mut cluster = Cluster::of(&["a", "b"]);
        cluster.part(&["a"], &["b"]);
        let (b, now) = (node("b"), cluster.now());
        let mut later = cluster.engines[&b].identity().clone();
        later.incarnation += 1000;
        let engine = cluster.engines.get_mut(&node("a")).unwrap();
        engine.link_up(&b, later, CONTROL, now);
        if !down_while_linked {
            engine.link_down(&b, CONTROL, false, now);
        }
        cluster.run(Duration::from_secs(10));
        let now = cluster.now();
        let engine = cluster.engines.get_mut(&node("a")).unwrap();
        engine.link_down(&b, CONTROL, false, now);
        assert!(!engine.roster().get(&b).unwrap().active, "{down_while_linked}");
    }
}

/// A node that was linked, announced itself and is gone again.
fn come_and_go(engine: &mut Engine, name: &str, now: Now) {
    let id = node(name);
    let identity = Identity {
        node: name.into(),
        addr: "10.1.0.1:4000".parse().unwrap(),
        incarnation: BEGIN_MS,
    };
    let announce = message::Announce {
        ready: true,
        leaving: false,
        time_ms: BEGIN_MS,
        forgotten_until_ms: 0,
        memory_since_ms: BEGIN_MS,
        receiver_memory_since_ms: 0,
        receiver_lost_since_ms: u64::MAX,
        members: 1,
        workers: vec![worker(name)],
    };
    let on = engine.on_hello(&id, CONTROL, identity.addr);
    engine.link_up(&id, identity, CONTROL, now);
    engine.on_message(&id, on, message::Message::Announce(announce), now);
    engine.link_down(&id, CONTROL, false, now);
    engine.take_outputs();
}

#[test]
fn what_is_kept_of_nodes_that_are_gone_goes_with_their_place_in_the_roster() {
    let mut cluster = Cluster::of(&["a"]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    for number in 0..MEMBERS_MAX + 76 {
        come_and_go(engine, &format!("n{number:04}"), now);
    }
    assert_eq!(engine.roster().iter().count(), MEMBERS_MAX);
    assert_eq!(engine.inbound.len(), MEMBERS_MAX);
    assert_eq!(engine.peers().len(), 0);
}

#[test]
fn what_strangers_send_is_kept_of_so_many_only() {
    let mut cluster = Cluster::of(&["a"]);
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    for number in 0..INBOUND_MAX + 10 {
        let id = node(&format!("n{number:04}"));
        let on = engine.on_hello(&id, CONTROL, "10.1.0.1:4000".parse().unwrap());
        let asks = MemberMessage::AnnounceRequest.encode();
        assert!(engine.on_message(&id, on, message::Message::Gossip(asks), now));
        assert!(engine.inbound.len() <= INBOUND_MAX);
    }
}
