//! How much is kept of nodes that come and go.

use super::*;
use crate::base::limits::MEMBERS_MAX;

impl World {
    /// The most nodes any part keeps something of.
    fn kept(&self) -> usize {
        let members = &self.members;
        let roster = members.roster.iter().count();
        let parts = [
            members.failure_detector.len(),
            members.clocks.len(),
            members.absences.len(),
            members.suspicions.len(),
        ];
        parts.into_iter().fold(roster, usize::max)
    }
}

#[test]
fn of_1100_nodes_that_come_and_fail_every_one_is_tracked_and_the_oldest_are_forgotten() {
    let mut world = World::new();
    for number in 0..1100_usize {
        let name = format!("n{number:04}");
        let node = id(&name);
        assert_eq!(world.members.admits(&node), Ok(()), "{name}");
        world.join(&name);
        assert!(world.is_active(&name), "{name} is not tracked");
        world.hear(
            &name,
            &MemberMessage::ClockReply {
                asked_ms: 0,
                now_ms: BEGIN_MS,
                time: None,
            },
        );
        let announced = world.call(|members, now| members.on_announce(&node, &announce(true), READY, now));
        assert_eq!(announced, Announced::Recorded { became_ready: true });
        assert!(world.members.absences.is_kept(&node), "{name}");
        world.kill(&name);
        assert!(world.is_reported_down(&name));
        let forgotten = number
            .checked_sub(MEMBERS_MAX)
            .map(|number| id(&format!("n{number:04}")));
        let outputs = std::mem::take(&mut world.outputs).into_iter();
        let told = outputs.filter_map(|output| match output {
            MembersOutput::Forgotten(node) => Some(node),
            _ => None,
        });
        assert_eq!(told.last(), forgotten);
        world.elapsed += Duration::from_millis(1);
    }
    assert_eq!(world.members.roster().iter().count(), MEMBERS_MAX);
    assert_eq!(world.kept(), MEMBERS_MAX);
}

#[test]
fn a_node_beyond_the_most_members_is_not_admitted_until_one_is_gone() {
    let mut world = World::new();
    for number in 0..MEMBERS_MAX {
        let name = format!("n{number:04}");
        let now = world.now();
        let identity = identity(&name, BEGIN_MS);
        world.members.link_up(&id(&name), identity, now).unwrap();
    }
    let (late, now) = (id("late"), world.now());
    assert_eq!(world.members.admits(&late), Err(RosterFull));
    let refused = world.members.link_up(&late, identity("late", BEGIN_MS), now);
    assert_eq!(refused, Err(RosterFull));
    assert_eq!(world.members.admits(&id("n0000")), Ok(()));
    world.members.link_down(&id("n0000"), false, now);
    assert_eq!(world.members.admits(&late), Ok(()));
}

#[test]
fn a_member_that_is_gone_for_a_day_is_forgotten() {
    let mut world = World::with(&["a", "b"]);
    world.kill("a");
    world.run(Duration::from_millis(150));
    assert!(world.is_reported_down("a"));
    world.elapsed += FORGET_GONE_AFTER - Duration::from_secs(10);
    world.call(|members, now| members.tick(now));
    assert!(world.members.roster().get(&id("a")).is_some());
    world.elapsed += Duration::from_secs(10);
    world.outputs.clear();
    world.call(|members, now| members.tick(now));
    assert!(world.members.roster().get(&id("a")).is_none());
    assert!(world.members.roster().get(&id("b")).is_some());
    let forgotten = MembersOutput::Forgotten(id("a"));
    assert!(world.outputs.contains(&forgotten), "{:?}", world.outputs);
}

#[test]
fn nothing_is_kept_of_nodes_that_are_in_no_roster() {
    let mut world = World::new();
    for number in 0..3 * MEMBERS_MAX {
        let node = id(&format!("n{number:04}"));
        world.call(|members, now| {
            members.note_heard(&node, now);
            let announced = members.on_announce(&node, &announce(true), READY, now);
            assert_eq!(announced, Announced::Unknown);
        });
        world.hear(
            node.as_str(),
            &MemberMessage::ClockReply {
                asked_ms: 0,
                now_ms: BEGIN_MS,
                time: None,
            },
        );
    }
    assert_eq!(
        world.members.failure_detector.len() + world.members.clocks.len(),
        0
    );
    assert!(world.members.absences.len() <= 2 * MEMBERS_MAX);
}
