//! Members that come, leave and come back; incarnations, clocks, duplicates, absences and beginning again.

use super::*;
use crate::membership::MemberState;

fn known(incarnation: u64) -> MemberMessage {
    MemberMessage::KnownIncarnation { incarnation }
}

#[test]
fn a_node_that_is_linked_and_known_to_swim_is_a_member() {
    let mut world = World::new();
    world.join("a");
    let up = world
        .outputs
        .iter()
        .position(|output| *output == MembersOutput::Up(id("a")));
    let dial = MembersOutput::Dial(addr("a"));
    let dial = world.outputs.iter().position(|output| *output == dial);
    assert!(up.is_some() && up < dial, "{:?}", world.outputs);
    let state = |world: &World| world.members.roster().get(&id("a")).unwrap().state();
    assert_eq!(state(&world), MemberState::Joining);
    world.call(|members, now| members.on_announce(&id("a"), &announce(true), READY, now));
    assert_eq!(state(&world), MemberState::Ready);
    world.call(|members, now| members.link_down(&id("a"), false, now));
    assert_eq!(state(&world), MemberState::Suspect);
    assert_eq!(world.members.wanted_links(world.now()), [addr("a")]);
}

#[test]
fn a_member_that_leaves_is_reported_as_one_that_left_and_is_not_dialled_again() {
    let mut world = World::with(&["a"]);
    let leaving = Announce {
        leaving: true,
        ..announce(true)
    };
    world.call(|members, now| members.on_announce(&id("a"), &leaving, READY, now));
    let packets = world.others.get_mut(&id("a")).unwrap().leave().datagrams;
    for (_, packet) in packets {
        world.hear("a", &MemberMessage::Swim(packet));
    }
    let down = MembersOutput::Down {
        node: id("a"),
        left: true,
    };
    assert!(world.outputs.contains(&down), "{:?}", world.outputs);
    world.call(|members, now| members.link_down(&id("a"), false, now));
    assert!(world.members.wanted_links(world.now()).is_empty());
}

#[test]
fn a_later_incarnation_replaces_a_member_and_an_earlier_one_is_told_of_it() {
    let mut world = World::with(&["a"]);
    assert!(world.members.is_later(&id("a"), BEGIN_MS + 1));
    assert!(!world.members.is_later(&id("a"), BEGIN_MS));
    assert!(!world.members.is_later(&id("unknown"), BEGIN_MS));
    world.call(|members, now| members.link_down(&id("a"), false, now));
    world.join_as(identity("a", BEGIN_MS + 1));
    assert_eq!(world.members.latest_incarnation(&id("a")), BEGIN_MS + 1);
    world.outputs.clear();
    // A process whose clock is behind that of the one before it.
    world.call(|members, now| members.link_down(&id("a"), false, now));
    world.join_as(identity("a", BEGIN_MS - 5));
    assert!(world.take_sent().contains(&(id("a"), known(BEGIN_MS + 1))));
}

#[test]
fn a_node_takes_a_later_incarnation_than_any_that_is_known_of_it() {
    let mut world = World::with(&["a"]);
    world.hear("a", &known(BEGIN_MS - 1));
    assert_eq!(world.members.identity().incarnation, BEGIN_MS);
    world.hear("a", &known(BEGIN_MS + 3));
    assert_eq!(world.members.identity().incarnation, BEGIN_MS + 4);
    assert!(!world.members.outpace(BEGIN_MS + 3, world.now()));
}

#[test]
fn a_clock_request_and_an_announce_request_are_answered() {
    let mut world = World::with(&["a"]);
    world.hear("a", &MemberMessage::ClockRequest { asked_ms: 5 });
    let reply = MemberMessage::ClockReply {
        asked_ms: 5,
        now_ms: BEGIN_MS,
        time: None, // it is joining
    };
    assert_eq!(world.outputs, [MembersOutput::Send(id("a"), reply)]);
    world.outputs.clear();
    world.hear("a", &MemberMessage::AnnounceRequest);
    assert_eq!(world.outputs, [MembersOutput::Announce(id("a"))]);
}

#[test]
fn a_drift_is_measured_and_members_that_are_not_ready_are_asked_to_announce_themselves() {
    let mut world = World::with(&["a"]);
    world.run(Duration::from_millis(50));
    let sent = world.take_sent();
    let asked_ms = world.now().mono_ms();
    assert!(sent.contains(&(id("a"), MemberMessage::ClockRequest { asked_ms })));
    assert!(sent.contains(&(id("a"), MemberMessage::AnnounceRequest)));
    let (now_ms, time) = (world.now().wall_ms + 2000, None);
    world.hear(
        "a",
        &MemberMessage::ClockReply {
            asked_ms,
            now_ms,
            time,
        },
    );
    assert_eq!(world.members.clock_drift_ms(&id("a")), Some(2000));
}

#[test]
fn two_processes_with_one_id_are_told_apart_by_their_addresses() {
    let mut world = World::with(&["a"]);
    let elsewhere: SocketAddr = "10.9.9.9:4000".parse().unwrap();
    assert_eq!(world.members.linked_elsewhere(&id("a"), addr("a")), None);
    let holder = world.members.linked_elsewhere(&id("a"), elsewhere);
    assert_eq!(holder, Some(addr("a")));
    world.call(|members, _| members.give_up_link(&id("a")));
    assert_eq!(world.outputs, [MembersOutput::CloseLink(id("a"))]);
    world.call(|members, now| members.link_down(&id("a"), false, now));
    assert_eq!(world.members.linked_elsewhere(&id("a"), elsewhere), None);
}

#[test]
fn a_refused_node_says_why_until_it_is_accepted() {
    let mut world = World::with(&["a"]);
    world.call(|members, now| members.id_taken(&id("a"), "10.9.9.9:4000".parse().unwrap(), now));
    assert!(world.members.is_refused_as_duplicate());
    let problem = world.members.duplicate_problem().unwrap();
    assert!(
        problem.contains("called m is alive at 10.9.9.9:4000"),
        "{problem}"
    );
    world
        .call(|members, now| members.link_up(&id("a"), identity("a", BEGIN_MS), now))
        .unwrap();
    assert_eq!(world.members.duplicate_problem(), None);
}

#[test]
fn a_process_that_stood_still_closes_its_links_and_trusts_nobody() {
    let mut world = World::with(&["a"]);
    let met = Announce {
        memory_since_ms: BEGIN_MS + 1,
        receiver_memory_since_ms: BEGIN_MS,
        ..announce(true)
    };
    world.call(|members, now| members.on_announce(&id("a"), &met, READY, now));
    world.run(Duration::from_millis(50));
    world.outputs.clear();
    world.elapsed += Duration::from_secs(30);
    world.call(|members, now| members.note_time(now));
    assert_eq!(world.outputs, [MembersOutput::CloseLink(id("a"))]);
    assert!(!world.members.trusts(&id("a"), world.now()));
}

#[test]
fn a_node_that_was_away_for_longer_than_tombstones_live_begins_again() {
    let mut world = World::with(&["a", "b"]);
    world.members.settle_time(false, world.now());
    let met = Announce {
        memory_since_ms: BEGIN_MS + 1,
        receiver_memory_since_ms: BEGIN_MS,
        ..announce(true)
    };
    world.call(|members, now| members.on_announce(&id("a"), &met, READY, now));
    world.kill("a");
    world.run(Duration::from_millis(150));
    let deleted_ms = BEGIN_MS + 100_000;
    let back = Announce {
        forgotten_until_ms: deleted_ms,
        ..met
    };
    world.elapsed += Duration::from_secs(200);
    let announced = world.call(|members, now| members.on_announce(&id("a"), &back, READY, now));
    assert_eq!(announced, Announced::BeginAgain);
    let (before, now) = (world.members.identity().clone(), world.now());
    world.members = world.members.begin_again(false, now);
    world.settle();
    let own = world.members.identity();
    assert_eq!((&own.node, own.addr), (&before.node, before.addr));
    assert!(own.incarnation > before.incarnation);
    assert_eq!(world.members.roster().iter().count(), 0);
    assert!(world.outputs.contains(&MembersOutput::Dial(addr("b"))));
    let own = world.members.announcement_to(&id("a"), &Phase::Ready, Vec::new());
    assert!(own.memory_since_ms > BEGIN_MS);
    assert_eq!(own.receiver_memory_since_ms, 0);
}

#[test]
fn a_node_that_leaves_gives_no_hints_and_follows_none() {
    let mut world = World::new();
    let hint = world.members.hint("d", world.now()).unwrap();
    assert_eq!((hint.node.as_str(), hint.addr), ("m", addr("m")));
    let other = crate::membership::Hint {
        node: "a".into(),
        addr: addr("a"),
        ..hint
    };
    assert!(world.members.is_hint_worth(&other, "d", world.now()));
    world.call(|members, now| members.follow_hint(&other, now));
    assert_eq!(world.outputs, [MembersOutput::Dial(addr("a"))]);
    assert!(
        !world.members.is_hint_worth(&other, "d", world.now()),
        "a moment ago"
    );
    world.call(|members, now| members.leave(now));
    assert_eq!(world.members.hint("d", world.now()), None);
}

#[test]
fn a_node_that_was_met_and_never_became_a_member_is_away_once_its_link_is_down() {
    let mut world = World::new();
    let now = world.now();
    world
        .members
        .link_up(&id("a"), identity("a", BEGIN_MS), now)
        .unwrap();
    let met = Announce {
        memory_since_ms: BEGIN_MS + 1,
        receiver_memory_since_ms: BEGIN_MS,
        ..announce(true)
    };
    world.call(|members, now| members.on_announce(&id("a"), &met, READY, now));
    assert!(!world.is_active("a"));
    world.run(Duration::from_secs(20));
    world.call(|members, now| members.link_down(&id("a"), false, now));
    let told = world.members.announcement_to(&id("a"), &Phase::Ready, Vec::new());
    assert_eq!(told.receiver_lost_since_ms, BEGIN_MS + 17_000);
}
