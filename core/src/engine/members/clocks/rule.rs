//! The rule by which every node decides alike whose clock is wrong, and which time the cluster keeps.
//!
//! A wall clock is wrong when more members than not agree on another time. Where no time has such a majority (two nodes
//! that differ) the cluster's time decides: it does not follow a clock that is set, so the clock that stepped is the one
//! that is wrong, or that of the node that came later.
//!
//! Two parts of a cluster that began apart may keep different times. The time that more members keep stands, then the one
//! that more wall clocks say, then the older one. All are offsets from the monotonic clock of the node that decides.
//! Measuring them, and what follows, is in [`super`].

use std::cmp::Reverse;

/// How far apart two nodes may read when they began one scale, in milliseconds; closer ones are told apart by number.
const AGE_ERROR_MS: i64 = 2000;

/// A time scale: which node began it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// The number its first node drew.
    pub(super) id: u64,
    /// When it was begun, by this node's monotonic clock in milliseconds; less than 0 when that was earlier than this
    /// process.
    pub(super) began_ms: i64,
}

impl Scale {
    /// What scales are compared by: the less, the older.
    const fn rank(self) -> (i64, u64) {
        (self.began_ms.div_euclid(AGE_ERROR_MS), self.id)
    }

    /// The older of the two.
    pub(super) fn older(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }
}

/// The cluster's time as one node keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) time_ms: i64,
    /// `None` where only the time is known so far.
    pub(super) scale: Option<Scale>,
}

/// The clocks of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clocks {
    /// `None` where it was not measured.
    pub(super) wall_ms: Option<i64>,
    /// `None` while the node is joining.
    pub(super) kept: Option<Kept>,
}

/// What this node's time is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody else keeps one.
    Alone,
    /// It is the cluster's; this is the oldest scale of those that keep it.
    Agreed(Option<Scale>),
    /// Another stands.
    Contradicted(Kept),
}

/// The lower median.
pub(super) fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// How many of `sorted` are within `reach` of `value`.
fn near(sorted: &[i64], value: i64, reach: i64) -> usize {
    let from = sorted.partition_point(|other| *other < value.saturating_sub(reach));
    let until = sorted.partition_point(|other| *other <= value.saturating_add(reach));
    until - from
}

/// The time that more than half of `walls` agree on, as the median of those that do; `None` when there is none.
pub(super) fn majority(walls: &[i64], reach: i64) -> Option<i64> {
    let mut sorted = walls.to_vec();
    sorted.sort_unstable();
    let best = sorted.iter().max_by_key(|wall| near(&sorted, **wall, reach))?;
    let agreeing = sorted
        .iter()
        .filter(|wall| wall.abs_diff(*best) <= reach.unsigned_abs());
    let agreeing: Vec<_> = agreeing.copied().collect();
    (agreeing.len() * 2 > sorted.len())
        .then(|| median(agreeing))
        .flatten()
}

/// By how many milliseconds the wall clock `own` is ahead of the right time, if it is wrong. `walls` are those of all
/// members, this one included; `time` is the cluster's.
pub(super) fn wall_error(own: i64, walls: &[i64], time: i64, reach: i64) -> Option<i64> {
    let alone = walls.len() < 2;
    let right = majority(walls, reach).or(Some(time)).filter(|_| !alone)?;
    let ahead = own.saturating_sub(right);
    (ahead.unsigned_abs() > reach.unsigned_abs()).then_some(ahead)
}

/// The time that stands among those of `all`: the median of the nodes that keep it, and the oldest of their scales. `None`
/// when nobody keeps one.
pub(super) fn standing(all: &[Clocks], reach: i64) -> Option<Kept> {
    let kept: Vec<Kept> = all.iter().filter_map(|clocks| clocks.kept).collect();
    let mut times: Vec<i64> = kept.iter().map(|kept| kept.time_ms).collect();
    times.sort_unstable();
    let oldest = |time: i64| {
        let group = kept.iter().filter(|kept| is_near(kept.time_ms, time, reach));
        group.filter_map(|kept| kept.scale).reduce(Scale::older)
    };
    let (first, last) = (*times.first()?, *times.last()?);
    let best = if is_near(first, last, reach) {
        first
    } else {
        let mut walls: Vec<i64> = all.iter().filter_map(|clocks| clocks.wall_ms).collect();
        walls.sort_unstable();
        *times.iter().max_by_key(|time| {
            let age = oldest(**time).map_or((i64::MAX, u64::MAX), Scale::rank);
            let votes = near(&walls, **time, reach);
            (near(&times, **time, reach), votes, Reverse(age), Reverse(**time))
        })?
    };
    let group = times.iter().copied().filter(|time| is_near(*time, best, reach));
    Some(Kept {
        time_ms: median(group.collect())?,
        scale: oldest(best),
    })
}

fn is_near(a: i64, b: i64, reach: i64) -> bool {
    a.abs_diff(b) <= reach.unsigned_abs()
}

/// Whether the time of `own` stands among those of `others`.
pub(super) fn judge(own: Clocks, others: &[Clocks], reach: i64) -> Verdict {
    let Some(mine) = own
        .kept
        .filter(|_| others.iter().any(|clocks| clocks.kept.is_some()))
    else {
        return Verdict::Alone;
    };
    let all: Vec<_> = std::iter::once(own).chain(others.iter().copied()).collect();
    match standing(&all, reach) {
        Some(kept) if !is_near(kept.time_ms, mine.time_ms, reach) => Verdict::Contradicted(kept),
        standing => Verdict::Agreed(standing.and_then(|kept| kept.scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const REACH: i64 = 60_000;

    fn scale(id: u64, began_ms: i64) -> Scale {
        Scale { id, began_ms }
    }

    /// A node that keeps `time` on the scale `id`, begun at `began`, and whose wall clock says `wall`.
    fn ready(wall: i64, time: i64, id: u64, began: i64) -> Clocks {
        Clocks {
            wall_ms: Some(wall),
            kept: Some(Kept {
                time_ms: time,
                scale: Some(scale(id, began)),
            }),
        }
    }

    #[test]
    fn more_members_than_not_decide_whose_wall_clock_is_wrong() {
        for (own, walls, time, expected) in [
            (HOUR, vec![HOUR], 0, None), // nobody to compare with
            (HOUR, vec![HOUR, 0, 0], 0, Some(HOUR)),
            (0, vec![HOUR, 0, 0], 0, None),
            (0, vec![HOUR, HOUR, 0], 0, Some(-HOUR)), // the two were set right, the cluster began wrong
            (HOUR, vec![HOUR, HOUR, 0], 0, None),
            (REACH, vec![REACH, 0], 0, None),
            // Two: the one that stepped, or came later, is off the time that both keep.
            (HOUR, vec![HOUR, 0], 0, Some(HOUR)),
            (0, vec![HOUR, 0], 0, None),
            (0, vec![HOUR, 0], HOUR, Some(-HOUR)),
            // Nobody agrees with anybody.
            (HOUR, vec![HOUR, 0, -HOUR], 0, Some(HOUR)),
            (0, vec![HOUR, 0, -HOUR], 0, None),
            // All stepped alike.
            (-HOUR, vec![-HOUR, -HOUR], 0, None),
        ] {
            assert_eq!(
                wall_error(own, &walls, time, REACH),
                expected,
                "{own} {walls:?} {time}"
            );
        }
    }

    #[test]
    fn the_time_that_more_keep_stands() {
        let few = ready(0, HOUR, 1, -9000);
        let many = [ready(0, 0, 2, 0), ready(0, 5, 2, 0)];
        let Verdict::Contradicted(kept) = judge(few, &many, REACH) else {
            panic!("it is one of three");
        };
        assert_eq!((kept.time_ms, kept.scale), (0, Some(scale(2, 0))));
        let rest = [many[1], few];
        assert_eq!(judge(many[0], &rest, REACH), Verdict::Agreed(Some(scale(2, 0))));
    }

    #[test]
    fn of_two_the_wall_clocks_decide_and_then_the_age() {
        let joining = Clocks {
            wall_ms: Some(0),
            kept: None,
        };
        let (ahead, right) = (ready(HOUR, HOUR, 1, -9000), ready(0, 0, 2, 0));
        assert!(
            matches!(judge(ahead, &[right, joining], REACH), Verdict::Contradicted(kept) if kept.time_ms == 0)
        );
        assert!(matches!(
            judge(right, &[ahead, joining], REACH),
            Verdict::Agreed(_)
        ));
        assert!(matches!(judge(right, &[ahead], REACH), Verdict::Contradicted(kept) if kept.time_ms == HOUR));
        assert!(matches!(judge(ahead, &[right], REACH), Verdict::Agreed(_)));
    }

    #[test]
    fn of_several_that_all_differ_one_stands_for_all() {
        let nodes = [0, 1, 2, 3].map(|n| ready(n * HOUR, n * HOUR, n.unsigned_abs(), 0));
        let stands = |own: usize| {
            let others: Vec<_> = (0..4).filter(|n| *n != own).map(|n| nodes[n]).collect();
            match judge(nodes[own], &others, REACH) {
                Verdict::Contradicted(kept) => kept.time_ms,
                _ => nodes[own].kept.unwrap().time_ms,
            }
        };
        assert_eq!([0, 1, 2, 3].map(stands), [0; 4]);
    }

    #[test]
    fn times_near_each_other_agree_on_the_older_scale() {
        let (old, young) = (ready(0, 0, 9, -50_000), ready(0, 30_000, 1, 0));
        assert_eq!(
            judge(young, &[old], REACH),
            Verdict::Agreed(Some(scale(9, -50_000)))
        );
        assert_eq!(judge(old, &[], REACH), Verdict::Alone);
        assert_eq!(
            scale(4, 900).older(scale(3, 1100)),
            scale(3, 1100),
            "begun at once: by number"
        );
    }

    #[test]
    fn readings_at_the_ends_of_the_range_are_no_trouble() {
        let far = ready(i64::MAX, i64::MIN, 1, i64::MIN);
        let _ = judge(far, &[ready(i64::MIN, i64::MAX, 2, i64::MAX), far], REACH);
        assert_eq!(wall_error(i64::MIN, &[i64::MIN, 0, 0], 0, REACH), Some(i64::MIN));
    }
}
