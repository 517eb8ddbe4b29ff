//! Clocks as one node keeps them, with its own and those of the others moved by hand.

use super::*;

const BEGIN_MS: u64 = 1_700_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

/// The clocks of a node whose wall clock is `off_ms` ahead, after `elapsed_ms`.
fn at(elapsed_ms: u64, off_ms: i64) -> Now {
    Now {
        wall_ms: (BEGIN_MS + elapsed_ms).saturating_add_signed(off_ms),
        mono: Duration::from_millis(elapsed_ms),
    }
}

fn clocks(off_ms: i64) -> Clocks {
    Clocks::new(ClockLimits::default(), 1, at(0, off_ms))
}

/// The time of the scale `scale` that is `off_ms` ahead, begun `age_ms` ago.
fn time(elapsed_ms: u64, off_ms: i64, scale: u64, age_ms: u64) -> Option<ClusterTime> {
    Some(ClusterTime {
        now_ms: at(elapsed_ms, off_ms).wall_ms,
        scale,
        age_ms,
    })
}

/// `node`, whose wall clock is `wall_ms` ahead and which keeps `time`, is asked and answers at once.
fn reply(clocks: &mut Clocks, node: &str, wall_ms: i64, time: Option<ClusterTime>, now: Now) {
    let wall = at(now.mono_ms(), wall_ms).wall_ms;
    clocks.on_reply(&id(node), now.mono_ms(), wall, time, now);
}

fn pass(clocks: &mut Clocks, from_ms: u64, until_ms: u64, off_ms: i64) {
    for ms in (from_ms..=until_ms).step_by(50) {
        clocks.advance(|_| true, at(ms, off_ms));
    }
}

#[test]
fn members_are_asked_in_turn_sixteen_at_a_time_every_five_seconds() {
    let mut clocks = clocks(0);
    let linked = || (0..20).map(|number| id(&format!("n{number:02}")));
    let first = clocks.whom_to_ask(linked(), Duration::ZERO);
    assert_eq!(first, linked().take(16).collect::<Vec<_>>());
    assert_eq!(clocks.whom_to_ask(linked(), Duration::from_secs(4)), []);
    let second = clocks.whom_to_ask(linked(), Duration::from_secs(5));
    let expected: Vec<_> = linked().skip(16).chain(linked().take(12)).collect();
    assert_eq!(second, expected);
}

#[test]
fn how_far_a_clock_is_ahead_shows_at_once_when_the_own_one_is_set() {
    let mut clocks = clocks(0);
    assert_eq!(clocks.ahead_ms(&id("a")), None);
    reply(&mut clocks, "a", 5000, None, at(0, 0));
    assert_eq!(clocks.ahead_ms(&id("a")), Some(5000));
    clocks.advance(|_| true, at(50, HOUR_MS));
    assert_eq!(clocks.ahead_ms(&id("a")), Some(5000 - HOUR_MS));
    clocks.forget(&id("a"));
    assert_eq!(clocks.ahead_ms(&id("a")), None);
}

#[test]
fn a_node_that_joins_takes_the_time_of_the_members() {
    let mut clocks = clocks(HOUR_MS);
    clocks.on_announced(&id("a"), BEGIN_MS + 40, at(100, HOUR_MS));
    assert_eq!(clocks.time_ms(at(100, HOUR_MS)), BEGIN_MS + 40);
    assert_eq!(clocks.told(at(100, HOUR_MS)), None, "it does not keep it yet");
    let now = at(200, HOUR_MS);
    reply(&mut clocks, "a", 0, time(200, 0, 9, 5000), now);
    assert_eq!(clocks.time_ms(now), at(200, 0).wall_ms, "measured");
    clocks.settle(false, now);
    assert_eq!(clocks.told(now), time(200, 0, 9, 5000), "on their scale");
    clocks.advance(|_| true, now);
    assert_eq!(clocks.wrong_ms, Some(HOUR_MS));
}

#[test]
fn the_first_node_begins_with_what_most_wall_clocks_say() {
    let mut first = clocks(HOUR_MS);
    let linked = || [id("a"), id("b")].into_iter();
    for node in linked() {
        first.note_asked(&node, Duration::ZERO);
    }
    assert!(!first.are_known(linked(), Duration::ZERO));
    assert!(first.are_known(linked(), FIRST_WAITS), "not for ever");
    reply(&mut first, "a", 0, None, at(0, HOUR_MS));
    reply(&mut first, "b", 10, None, at(0, HOUR_MS));
    assert!(first.are_known(linked(), Duration::ZERO));
    first.settle(false, at(0, HOUR_MS));
    assert_eq!(first.time_ms(at(0, HOUR_MS)), BEGIN_MS);
}

/// Its stamps belong to that time: with another one it would hold what everybody refuses, and never say so.
#[test]
fn who_has_a_part_of_a_table_keeps_the_time_it_came_with_though_the_donor_is_gone() {
    for (has_table, time_ms) in [(true, BEGIN_MS + 10 * HOUR_MS.cast_unsigned()), (false, BEGIN_MS)] {
        let mut clocks = clocks(0);
        clocks.on_announced(&id("a"), BEGIN_MS + 10 * HOUR_MS.cast_unsigned(), at(0, 0));
        for node in ["a", "b"] {
            reply(&mut clocks, node, 0, None, at(0, 0));
        }
        let by_ms = clocks.settle(has_table, at(0, 0));
        assert_eq!(clocks.time_ms(at(0, 0)), time_ms);
        assert_eq!(by_ms, if has_table { 0 } else { -10 * HOUR_MS });
    }
}

#[test]
fn a_wall_clock_that_is_set_is_wrong_and_changes_no_time() {
    for wrong_ms in [-10 * HOUR_MS, -HOUR_MS, HOUR_MS, 10 * HOUR_MS] {
        let mut clocks = clocks(0);
        clocks.settle(false, at(0, 0));
        reply(&mut clocks, "a", 0, time(0, 0, 1, 0), at(0, 0));
        pass(&mut clocks, 0, 1000, 0);
        assert_eq!(clocks.wrong_ms, None);
        pass(&mut clocks, 1050, 60_000, wrong_ms);
        assert_eq!(clocks.wrong_ms, Some(wrong_ms), "of two, the one that stepped");
        assert_eq!(clocks.time_ms(at(60_000, wrong_ms)), BEGIN_MS + 60_000);
        pass(&mut clocks, 60_050, 60_050, 0);
        assert_eq!(clocks.wrong_ms, None, "at once");
    }
}

#[test]
fn where_most_clocks_are_set_alike_the_time_follows_slowly() {
    let mut clocks = clocks(HOUR_MS);
    clocks.settle(false, at(0, HOUR_MS));
    reply(&mut clocks, "a", 0, time(0, HOUR_MS, 1, 0), at(0, HOUR_MS));
    reply(&mut clocks, "b", 0, time(0, HOUR_MS, 1, 0), at(0, HOUR_MS));
    clocks.advance(|_| true, at(0, HOUR_MS));
    assert_eq!(clocks.wrong_ms, Some(HOUR_MS), "two of three");
    clocks.advance(|_| true, at(50, 0));
    assert_eq!(clocks.wrong_ms, None);
    pass(&mut clocks, 50, 2000, 0);
    let time = clocks.time_ms(at(2000, 0));
    let behind = at(2000, HOUR_MS).wall_ms - time;
    assert!((1..=2000 / 200).contains(&behind), "{behind}");
}

#[test]
fn members_that_are_a_little_apart_come_together() {
    let mut clocks = clocks(0);
    clocks.settle(false, at(0, 0));
    let now = at(0, 0);
    reply(&mut clocks, "a", 0, time(0, -1000, 1, 0), now);
    reply(&mut clocks, "b", 0, time(0, -1000, 1, 0), now);
    pass(&mut clocks, 0, 12_000, 0);
    let behind = BEGIN_MS + 12_000 - clocks.time_ms(at(12_000, 0));
    assert!((900..=1000).contains(&behind), "{behind}");
}

#[test]
fn a_time_that_stands_against_this_one_is_taken_once_that_is_settled() {
    let mut clocks = clocks(HOUR_MS);
    clocks.settle(false, at(0, HOUR_MS));
    reply(
        &mut clocks,
        "mate",
        HOUR_MS,
        time(0, HOUR_MS, 1, 0),
        at(0, HOUR_MS),
    );
    for node in ["a", "b", "c"] {
        reply(&mut clocks, node, 0, time(0, 0, 9, 50_000), at(0, HOUR_MS));
    }
    clocks.advance(|_| true, at(50, HOUR_MS));
    assert_eq!(clocks.correct(at(50, HOUR_MS)), None);
    pass(&mut clocks, 100, 600, HOUR_MS);
    let now = at(600, HOUR_MS);
    let correction = Correction {
        ahead_ms: HOUR_MS,
        since_ms: 0,
        right: ["a", "b", "c"].map(|node| id(node).tag()).into(),
    };
    assert_eq!(clocks.correct(now), Some(correction));
    assert_eq!(clocks.time_ms(now), BEGIN_MS + 600);
    assert_eq!(clocks.correct(now), None);
    assert_eq!(clocks.told(now).map(|told| told.scale), Some(9));
}

/// A machine that was halted: the monotonic clock stood still.
#[test]
fn what_was_stamped_before_a_node_parted_from_its_scale_stays() {
    let mut clocks = clocks(0);
    clocks.settle(false, at(0, 0));
    for node in ["a", "b"] {
        reply(&mut clocks, node, 0, time(0, 0, 1, 0), at(0, 0));
    }
    pass(&mut clocks, 0, 3000, 0);
    for node in ["a", "b"] {
        reply(
            &mut clocks,
            node,
            HOUR_MS,
            time(3050, HOUR_MS, 1, 3_603_050),
            at(3050, 0),
        );
    }
    pass(&mut clocks, 3050, 4000, 0);
    let correction = clocks.correct(at(4000, 0)).unwrap();
    assert_eq!(
        (correction.ahead_ms, correction.since_ms),
        (-HOUR_MS, BEGIN_MS + 3000)
    );
}

#[test]
fn a_peer_whose_stamps_are_refused_is_told_now_and_then() {
    let mut clocks = clocks(0);
    assert!(
        !clocks.is_refusal_told(&id("a"), Duration::ZERO),
        "nobody knows it"
    );
    clocks.note_asked(&id("a"), Duration::ZERO);
    let told = [0, 500, 1000, 1500].map(|ms| clocks.is_refusal_told(&id("a"), Duration::from_millis(ms)));
    assert_eq!(told, [true, false, true, false]);
}
