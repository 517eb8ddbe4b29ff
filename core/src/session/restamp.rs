//! Moving a record in time: every stamp and touch of it by the same amount, so that their order stays.
//!
//! When a node does this, and by how much, is decided by [`crate::engine`].

use std::collections::BTreeSet;

use super::{Fate, Lifecycle, Origin, Record, Register, Renamed, Stamp, Touch};

/// The last millisecond a stamp has room for.
const LAST_MS: u64 = u64::MAX >> 16;

/// Which stamps are moved, and by how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shift {
    /// By so many milliseconds.
    pub by_ms: i64,
    /// What was stamped up to this millisecond since 1970 stays.
    pub since_ms: u64,
    /// What was stamped later than this stays as well.
    pub until_ms: u64,
    /// The tags of the nodes whose stamps stay.
    pub except: BTreeSet<u64>,
}

impl Shift {
    fn moment(&self, ms: u64, writer: u64) -> u64 {
        if ms > self.since_ms && ms <= self.until_ms && !self.except.contains(&writer) {
            ms.saturating_add_signed(self.by_ms).clamp(1, LAST_MS)
        } else {
            ms
        }
    }

    fn stamp(&self, stamp: Stamp) -> Stamp {
        Stamp {
            time: self.moment(stamp.wall_ms(), stamp.node) << 16 | stamp.time & 0xffff,
            ..stamp
        }
    }

    /// Whoever touched a session, it goes with the node that began its life.
    fn touch(&self, touch: Touch) -> Touch {
        Touch {
            life: self.stamp(touch.life),
            at_ms: self.moment(touch.at_ms, touch.life.node),
        }
    }

    fn renamed(&self, renamed: &Renamed) -> Renamed {
        Renamed {
            at: self.stamp(renamed.at),
            first: self.stamp(renamed.first),
            ..renamed.clone()
        }
    }

    fn fate(&self, fate: &Fate) -> Fate {
        match fate {
            Fate::Renamed(renamed) => Fate::Renamed(self.renamed(renamed)),
            Fate::Ended(at) => Fate::Ended(self.stamp(*at)),
        }
    }

    fn origin(&self, origin: Register<Origin>) -> Register<Origin> {
        let mut origin = self.register(origin);
        origin.value.first = self.stamp(origin.value.first);
        for name in &mut origin.value.names {
            name.life = self.stamp(name.life);
            name.left = name.left.as_ref().map(|left| self.renamed(left));
        }
        origin.value.names.sort_unstable();
        origin
    }

    fn register<T>(&self, register: Register<T>) -> Register<T> {
        Register {
            life: self.stamp(register.life),
            stamp: self.stamp(register.stamp),
            value: register.value,
        }
    }
}

impl Record {
    /// Moves the stamps and touches of it that `shift` names.
    pub fn shift(&mut self, shift: &Shift) {
        let Self {
            lifecycle,
            last_touch,
            max_inactive,
            route,
            attributes,
        } = self;
        lifecycle.change(|lifecycle| {
            let Lifecycle {
                deleted,
                fates,
                expired,
                renamed_from,
            } = lifecycle;
            *deleted = shift.stamp(*deleted);
            let moved = fates
                .iter()
                .map(|(life, fate)| (shift.stamp(life), shift.fate(fate)));
            *fates = moved.collect();
            *expired = expired.map(|touch| shift.touch(touch));
            *renamed_from = renamed_from.take().map(|origin| Box::new(shift.origin(*origin)));
        });
        *last_touch = last_touch.map(|touch| shift.touch(touch));
        *max_inactive = max_inactive.take().map(|idle| shift.register(idle));
        *route = route.take().map(|bound| shift.register(bound));
        *attributes = attributes
            .iter()
            .map(|(name, value)| (name.clone(), shift.register(value.clone())))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Attributes, Fates, LifecycleBox, Name};

    fn at(ms: u64, counter: u64) -> Stamp {
        Stamp {
            time: ms << 16 | counter,
            node: 7,
        }
    }

    fn record(ms: u64) -> Record {
        let register = |value| Register {
            life: at(ms, 1),
            stamp: at(ms + 5, 2),
            value,
        };
        Record {
            lifecycle: LifecycleBox::from(Lifecycle {
                deleted: at(ms - 1, 0),
                fates: Fates::from_iter([(
                    at(ms - 1, 0),
                    Fate::Renamed(Renamed {
                        at: at(ms - 1, 0),
                        to: "B".into(),
                        from: "A".into(),
                        first: at(ms - 1, 1),
                    }),
                )]),
                expired: Some(Touch {
                    life: at(ms, 1),
                    at_ms: ms + 2,
                }),
                renamed_from: Some(Box::new(Register {
                    life: at(ms, 1),
                    stamp: at(ms, 3),
                    value: Origin {
                        id: "A".into(),
                        names: vec![Name {
                            id: "A".into(),
                            life: at(ms - 1, 2),
                            left: None,
                        }],
                        first: at(ms - 1, 2),
                    },
                })),
            }),
            last_touch: Some(Touch {
                life: at(ms, 1),
                at_ms: ms + 9,
            }),
            max_inactive: Some(Register {
                life: at(ms, 1),
                stamp: at(ms, 1),
                value: limpet_wire::report::IdleLimit::Forever,
            }),
            route: None,
            attributes: Attributes::from_iter([("a".into(), register(Some((*b"v").into())))]),
        }
    }

    fn shift(by_ms: i64, since_ms: u64) -> Shift {
        Shift {
            by_ms,
            since_ms,
            until_ms: u64::MAX,
            except: BTreeSet::new(),
        }
    }

    #[test]
    fn every_stamp_moves_by_the_same_amount() {
        let mut moved = record(10_000);
        moved.shift(&shift(-3000, 0));
        assert_eq!(moved, record(7000));
        moved.shift(&shift(4000, 0));
        assert_eq!(moved, record(11_000));
    }

    #[test]
    fn what_is_older_later_or_of_others_stays_and_so_does_what_is_nothing() {
        let mut kept = record(10_000);
        kept.shift(&shift(-3000, 10_009));
        assert_eq!(kept, record(10_000));
        let of_others = Shift {
            except: [7].into(),
            ..shift(-3000, 0)
        };
        kept.shift(&of_others);
        assert_eq!(kept, record(10_000));
        let later = Shift {
            until_ms: 9998,
            ..shift(3000, 0)
        };
        kept.shift(&later);
        assert_eq!(kept, record(10_000));
        let mut nothing = Record::default();
        nothing.shift(&shift(5000, 0));
        assert_eq!(nothing, Record::default());
    }

    #[test]
    fn a_moment_stays_one_that_a_stamp_can_have() {
        let mut record = record(10_000);
        record.shift(&shift(i64::MIN, 0));
        assert_eq!(record.version().wall_ms(), 1);
        record.shift(&shift(i64::MAX, 0));
        assert_eq!(record.version().wall_ms(), LAST_MS);
    }
}
