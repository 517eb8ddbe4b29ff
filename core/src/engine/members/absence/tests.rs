//! Which nodes were away longer than tombstones live, and what follows for both sides.

use super::*;

const SECOND: u64 = 1000;
/// When the memory of this node began.
const BORN: u64 = 1_000 * SECOND;
/// How long repair takes.
const CATCH_UP: Duration = Duration::from_secs(10);

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn absences() -> Absences {
    let limits = AbsenceLimits {
        tombstone_life: Duration::from_secs(60),
        max_skew: Duration::from_secs(5),
        catch_up: CATCH_UP,
    };
    Absences::new(id("m"), limits, BORN)
}

/// What a ready node of a group of three announces whose memory began with this node's, and that has met it.
fn announce() -> Announce {
    Announce {
        ready: true,
        leaving: false,
        time_ms: 0,
        forgotten_until_ms: 0,
        memory_since_ms: BORN,
        receiver_memory_since_ms: BORN,
        receiver_lost_since_ms: u64::MAX,
        members: 3,
        workers: Vec::new(),
    }
}

const READY: OwnStatus<'static> = OwnStatus {
    phase: &Phase::Ready,
    has_sessions: true,
};

const JOINING: OwnStatus<'static> = OwnStatus {
    phase: &Phase::Joining {
        since: Duration::ZERO,
    },
    has_sessions: true,
};

fn verdict(absences: &mut Absences, of: &str, announce: &Announce, own: OwnStatus<'_>) -> Verdict {
    absences.on_announce(&id(of), announce, own, 3, |_| true, Duration::ZERO)
}

/// This node has met `b`, which then was away from `since_ms` on.
fn met_and_away(since_ms: u64) -> Absences {
    let mut absences = absences();
    // Its memory began later, so it got its table from this node.
    let met = Announce {
        memory_since_ms: BORN + 1,
        ..announce()
    };
    assert_eq!(verdict(&mut absences, "b", &met, READY), Verdict::Trusted);
    assert!(absences.trusts(&id("b"), Duration::ZERO));
    absences.note_down(&id("b"), since_ms, Duration::ZERO);
    assert!(!absences.trusts(&id("b"), Duration::ZERO));
    absences
}

/// The same node, back after its absence.
fn back(forgotten_until_ms: u64, members: u32) -> Announce {
    Announce {
        memory_since_ms: BORN + 1,
        forgotten_until_ms,
        members,
        ..announce()
    }
}

#[test]
fn a_node_that_missed_no_forgotten_tombstone_is_trusted_again() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    // Both forgot tombstones, all of them older than the absence by more than the skew of clocks.
    absences.note_forgotten_tombstone(since - 6 * SECOND);
    let verdict = verdict(&mut absences, "b", &back(since - 6 * SECOND, 3), READY);
    assert_eq!(verdict, Verdict::Trusted);
    assert!(absences.trusts(&id("b"), Duration::ZERO));
}

#[test]
fn a_node_that_may_have_missed_a_tombstone_forgotten_here_has_ten_seconds_to_begin_again() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    absences.note_forgotten_tombstone(since - 4 * SECOND);
    for _ in 0..2 {
        let verdict = verdict(&mut absences, "b", &back(0, 3), READY);
        assert_eq!(verdict, Verdict::Outdated);
    }
    assert!(!absences.trusts(&id("b"), Duration::from_millis(9_999)));
    assert!(absences.trusts(&id("b"), BEGIN_AGAIN_WITHIN));
}

#[test]
fn this_node_begins_again_if_only_it_missed_a_tombstone() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    let verdict = verdict(&mut absences, "b", &back(since + SECOND, 1), READY);
    assert_eq!(verdict, Verdict::BeginAgain, "however small the other's group");
}

#[test]
fn if_both_missed_tombstones_the_smaller_group_begins_again_and_of_equals_the_later_name() {
    let since = BORN + 100 * SECOND;
    for (of, group, expected) in [
        ("b", 4, Verdict::BeginAgain),
        ("b", 3, Verdict::BeginAgain),
        ("b", 2, Verdict::Outdated),
    ] {
        let mut absences = met_and_away(since);
        absences.note_forgotten_tombstone(since + SECOND);
        let verdict = verdict(&mut absences, of, &back(since + SECOND, group), READY);
        assert_eq!(verdict, expected, "{of} with a group of {group}");
    }
}

#[test]
fn a_joining_node_has_nothing_to_lose_and_is_trusted() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    absences.note_forgotten_tombstone(since + SECOND);
    let joining = Announce {
        ready: false,
        ..back(0, 3)
    };
    assert_eq!(verdict(&mut absences, "b", &joining, READY), Verdict::Trusted);
}

#[test]
fn a_later_memory_of_a_node_is_compared_by_when_it_began() {
    let mut absences = met_and_away(BORN + 100 * SECOND);
    absences.note_forgotten_tombstone(BORN + 500 * SECOND);
    // It began before the last forgotten tombstone, and has not met this node since.
    let later = Announce {
        memory_since_ms: BORN + 400 * SECOND,
        receiver_memory_since_ms: 0,
        ..announce()
    };
    assert_eq!(verdict(&mut absences, "b", &later, READY), Verdict::Outdated);
    assert_eq!(absences.met_ms(&id("b")), BORN + 400 * SECOND);
}

#[test]
fn a_process_that_stood_still_yields_to_one_that_did_not() {
    let mut absences = absences();
    assert_eq!(absences.note_time(Duration::ZERO), None);
    assert_eq!(absences.note_time(Duration::from_secs(29)), None);
    let stood = Duration::from_secs(30);
    assert_eq!(absences.note_time(Duration::from_secs(59)), Some(stood));
    let mut own = announce();
    absences.complete(&mut own, &id("b"), 3);
    assert_eq!(own.members, 0);
    absences.note_forgotten_tombstone(BORN + 500 * SECOND);
    let other = Announce {
        receiver_lost_since_ms: BORN + 400 * SECOND,
        ..back(0, 1)
    };
    assert_eq!(verdict(&mut absences, "b", &other, READY), Verdict::BeginAgain);
    assert!(!absences.begin_again(BORN, false).was_paused);
}

#[test]
fn a_node_begins_again_once_while_it_joins() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    let donor = back(since + SECOND, 3);
    assert_eq!(verdict(&mut absences, "b", &donor, JOINING), Verdict::BeginAgain);
    let mut again = absences.begin_again(BORN, true);
    assert_eq!(again.memory_since_ms, BORN + 1, "later than the memory before");
    assert_eq!(verdict(&mut again, "b", &donor, JOINING), Verdict::Trusted);
    again.note_down(&id("b"), since, Duration::ZERO);
    assert_eq!(verdict(&mut again, "b", &donor, JOINING), Verdict::Trusted);
}

#[test]
fn a_node_that_is_without_most_of_its_cluster_counts_as_away_from_one_it_never_met() {
    let mut absences = absences();
    for name in ["a", "b", "c"] {
        let met = Announce {
            memory_since_ms: BORN + 1,
            ..announce()
        };
        verdict(&mut absences, name, &met, READY);
        absences.note_down(&id(name), BORN + SECOND, Duration::ZERO);
    }
    let mut own = announce();
    absences.complete(&mut own, &id("new"), 1);
    assert_eq!(own.receiver_lost_since_ms, BORN + SECOND);
    absences.complete(&mut own, &id("new"), 3);
    assert_eq!(own.receiver_lost_since_ms, u64::MAX);
}

#[test]
fn a_node_that_left_or_was_forgotten_counts_as_never_met() {
    let mut absences = met_and_away(BORN + SECOND);
    absences.forget(&id("b"));
    assert_eq!(absences.len(), 0);
    assert!(absences.trusts(&id("b"), Duration::ZERO));
}

#[test]
fn absences_are_kept_of_so_many_nodes_and_members_are_tracked_whoever_came_before() {
    let mut absences = absences();
    for number in 0..KEPT_MAX + 100 {
        let name = format!("n{number:04}");
        absences.on_announce(&id(&name), &announce(), READY, 3, |_| false, Duration::ZERO);
        assert!(absences.with.contains_key(&id(&name)), "{name} is not tracked");
        assert!(absences.len() <= KEPT_MAX);
    }
}

#[test]
fn tombstones_that_a_node_missed_are_kept_until_repair_has_brought_them() {
    let since = BORN + 100 * SECOND;
    let mut absences = met_and_away(since);
    let lacked = |absences: &Absences, deleted_ms, at| absences.tombstone_lacked_for(deleted_ms, at);
    assert_eq!(
        lacked(&absences, since, Duration::ZERO),
        None,
        "nobody catches up"
    );
    assert_eq!(verdict(&mut absences, "b", &back(0, 3), READY), Verdict::Trusted);
    assert_eq!(lacked(&absences, since, Duration::ZERO), Some(CATCH_UP));
    let second = Duration::from_secs(1);
    assert_eq!(
        lacked(&absences, since - 5 * SECOND, second),
        Some(CATCH_UP - second)
    );
    assert_eq!(
        lacked(&absences, since - 6 * SECOND, second),
        None,
        "it had that one"
    );
    assert_eq!(lacked(&absences, since, CATCH_UP), None);
}

#[test]
fn a_node_that_goes_while_it_catches_up_has_been_away_since_the_time_before() {
    let since = BORN + 100 * SECOND;
    for (goes_after, expected) in [(CATCH_UP / 2, since), (CATCH_UP, since + 50 * SECOND)] {
        let mut absences = met_and_away(since);
        verdict(&mut absences, "b", &back(0, 3), READY);
        absences.note_down(&id("b"), since + 50 * SECOND, goes_after);
        let mut own = announce();
        absences.complete(&mut own, &id("b"), 3);
        assert_eq!(own.receiver_lost_since_ms, expected);
        assert_eq!(
            absences.tombstone_lacked_for(u64::MAX, goes_after),
            None,
            "it is gone"
        );
    }
}

#[test]
fn a_joining_node_may_lack_any_tombstone_and_its_absence_begins_when_it_goes() {
    let mut absences = absences();
    let joining = Announce {
        ready: false,
        ..back(0, 3)
    };
    verdict(&mut absences, "b", &joining, READY);
    absences.note_catch_up(&id("b"), 0, Duration::ZERO);
    assert_eq!(absences.tombstone_lacked_for(1, Duration::ZERO), Some(CATCH_UP));
    absences.note_down(&id("b"), BORN + SECOND, Duration::ZERO);
    let mut own = announce();
    absences.complete(&mut own, &id("b"), 3);
    assert_eq!(own.receiver_lost_since_ms, BORN + SECOND);
}
