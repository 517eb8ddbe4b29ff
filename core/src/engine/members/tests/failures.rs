//! Who is suspected and declared down, and who is not.

use super::*;

fn probe_refused(name: &str) -> MemberMessage {
    MemberMessage::ProbeRefused {
        node: name.into(),
        incarnation: BEGIN_MS,
    }
}

fn probe_silent(name: &str) -> MemberMessage {
    MemberMessage::ProbeSilent {
        node: name.into(),
        incarnation: BEGIN_MS,
    }
}

fn reply(name: &str, alive: bool) -> MemberMessage {
    MemberMessage::ProbeReply {
        node: name.into(),
        incarnation: BEGIN_MS,
        alive,
    }
}

#[test]
fn with_nobody_to_ask_a_refused_connection_confirms_a_failure() {
    let mut world = World::with(&["a"]);
    world.kill("a");
    assert!(world.is_reported_down("a"));
    assert_eq!(world.outputs.last(), Some(&MembersOutput::Changed));
    assert!(!world.is_active("a"));
}

#[test]
fn a_refused_connection_is_confirmed_when_those_who_are_asked_deny_the_member() {
    let mut world = World::with(&["a", "b", "c"]);
    world.kill("c");
    let asked = [(id("a"), probe_refused("c")), (id("b"), probe_refused("c"))];
    assert_eq!(world.take_sent(), asked);
    world.hear("a", &reply("c", false));
    assert!(world.is_active("c"));
    world.hear("b", &reply("c", false));
    assert!(world.is_reported_down("c"));
}

#[test]
fn a_member_that_another_one_reaches_stays_one() {
    let mut world = World::with(&["a", "b", "c"]);
    world.call(|members, now| members.link_down(&id("c"), true, now));
    world.hear("a", &reply("c", true));
    world.hear("b", &reply("c", false));
    world.run(Duration::from_millis(200));
    assert!(world.is_active("c"));
    world.take_sent();
    world.call(|members, now| members.link_down(&id("c"), true, now));
    assert_eq!(
        world.take_sent(),
        [],
        "only the first refusal after a link counts"
    );
}

#[test]
fn who_does_not_answer_delays_the_decision_by_150_ms() {
    let mut world = World::with(&["a", "c"]);
    world.kill("c");
    world.run(Duration::from_millis(100));
    assert!(world.is_active("c"));
    world.run(Duration::from_millis(50));
    assert!(world.is_reported_down("c"));
}

#[test]
fn a_link_that_comes_back_clears_the_suspicion() {
    let mut world = World::with(&["a", "c"]);
    world.call(|members, now| members.link_down(&id("c"), true, now));
    let now = world.now();
    let back = identity("c", BEGIN_MS);
    world.members.link_up(&id("c"), back, now).unwrap();
    world.run(Duration::from_millis(200));
    assert!(world.is_active("c"));
}

#[test]
fn a_link_that_broke_without_a_refusal_raises_no_suspicion() {
    let mut world = World::with(&["a", "c"]);
    world.call(|members, now| members.link_down(&id("c"), false, now));
    assert_eq!(world.take_sent(), []);
    assert!(world.is_active("c"));
}

#[test]
fn a_silent_member_is_asked_for_its_clock_then_others_are_asked_and_then_it_is_down() {
    let mut world = World::with(&["a", "c"]);
    world.run(Duration::from_millis(50));
    let since = world.elapsed;
    world.outputs.clear();
    let mut asked_after = None;
    let mut probed_after = None;
    while world.is_active("c") && world.elapsed - since < Duration::from_secs(3) {
        world.call(|members, now| {
            members.note_heard(&id("a"), now);
            if now.mono == since {
                members.note_heard(&id("c"), now);
            }
        });
        world.run(Duration::from_millis(50));
        let after = world.elapsed - since;
        for (to, message) in world.take_sent() {
            match message {
                MemberMessage::ClockRequest { .. } if to == id("c") => {
                    asked_after.get_or_insert(after);
                }
                message if message == probe_silent("c") => {
                    assert_eq!(to, id("a"));
                    probed_after.get_or_insert(after);
                }
                _ => {}
            }
        }
    }
    assert_eq!(asked_after, Some(Duration::from_secs(1)));
    assert_eq!(probed_after, Some(Duration::from_millis(2500)));
    assert_eq!(world.elapsed - since, Duration::from_millis(2650));
}

#[test]
fn a_probe_request_about_a_linked_member_is_answered_when_its_link_stayed_up_or_broke() {
    let mut world = World::with(&["a", "c"]);
    world.hear("a", &probe_refused("c"));
    assert_eq!(world.take_sent(), []);
    world.run(Duration::from_millis(100));
    assert!(world.take_sent().contains(&(id("a"), reply("c", true))));
    world.hear("a", &probe_refused("c"));
    world.call(|members, now| members.link_down(&id("c"), false, now));
    assert_eq!(world.take_sent(), [(id("a"), reply("c", false))]);
    world.hear("a", &probe_refused("c"));
    assert_eq!(
        world.take_sent(),
        [(id("a"), reply("c", false))],
        "not linked: denied at once"
    );
}

#[test]
fn a_probe_request_about_a_silent_member_is_answered_by_when_it_was_last_heard() {
    let mut world = World::with(&["a", "c"]);
    world.call(|members, now| members.note_heard(&id("c"), now));
    world.hear("a", &probe_silent("c"));
    assert_eq!(world.take_sent(), [(id("a"), reply("c", true))]);
    world.elapsed += Duration::from_millis(1500);
    world.hear("a", &probe_silent("c"));
    assert_eq!(world.take_sent(), [(id("a"), reply("c", false))]);
    world.hear("a", &probe_silent("nobody"));
    assert_eq!(world.take_sent(), [(id("a"), reply("nobody", false))]);
}
