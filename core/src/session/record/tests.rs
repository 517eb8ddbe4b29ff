//! The laws of joining records, and what lives and ends mean.

use proptest::prelude::*;

use super::*;

fn stamps() -> impl Strategy<Value = Stamp> {
    (1_u64..6, 1_u64..3).prop_map(|(time, node)| Stamp { time, node })
}

/// A register whose value follows from its stamp, as in life: one write has one value.
fn registers() -> impl Strategy<Value = Register<Attribute>> {
    (stamps(), stamps()).prop_map(|(a, b)| {
        let (life, stamp) = (a.min(b), a.max(b));
        let value = (stamp.time % 3 != 0).then(|| format!("{life:?}{stamp:?}").into_bytes().into());
        Register { life, stamp, value }
    })
}

fn records() -> impl Strategy<Value = Record> {
    let attributes = prop::collection::btree_map("[a-c]".prop_map(Arc::from), registers(), 0..3);
    let deleted = prop_oneof![2 => Just(Stamp::ZERO), 1 => stamps()];
    let touch = prop::option::of(registers());
    let end = prop::option::of(registers());
    let over = prop::option::of(stamps());
    (deleted, attributes, touch, end, over).prop_map(|(deleted, attributes, touch, end, over)| {
        let mut record = Record::tombstone(deleted);
        let attributes = attributes.into_iter().collect();
        let uses = |r: &Register<Attribute>| Touch {
            life: r.life,
            at_ms: r.stamp.time,
        };
        record.join(&Record {
            attributes,
            last_touch: touch.as_ref().map(uses),
            past: Past::from(Endings {
                ended: end.as_ref().map(uses),
                moved: over.map(|over| Moved {
                    over,
                    to: "new".into(),
                }),
                ..Endings::default()
            }),
            ..Record::default()
        });
        record
    })
}

fn joined(a: &Record, b: &Record) -> Record {
    let mut a = a.clone();
    a.join(b);
    a
}

proptest! {
    #[test]
    fn join_is_commutative(a in records(), b in records()) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
    }

    #[test]
    fn join_is_associative(a in records(), b in records(), c in records()) {
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
    }

    #[test]
    fn join_is_idempotent(a in records(), b in records()) {
        let mut once = joined(&a, &b);
        let twice = once.clone();
        prop_assert!(!once.join(&b));
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn nothing_of_a_deleted_life_returns(a in records(), late in records()) {
        let end = a.latest();
        let after = joined(&joined(&a, &Record::tombstone(end)), &late);
        for register in after.attributes.registers() {
            prop_assert!(register.life > end);
        }
    }

    #[test]
    fn equal_records_have_equal_digests(a in records(), b in records()) {
        prop_assert_eq!(joined(&a, &b).digest(), joined(&b, &a).digest());
    }
}

#[test]
fn writes_to_different_attributes_of_concurrent_creations_both_survive() {
    let write = |name: &str, time| {
        let stamp = Stamp { time, node: time };
        let value = Some(name.as_bytes().into());
        let register = Register {
            life: stamp,
            stamp,
            value,
        };
        let attributes = Attributes::from_iter([(Arc::from(name), register)]);
        Record {
            attributes,
            ..Record::default()
        }
    };
    let both = joined(&write("a", 5), &write("b", 7));
    assert_eq!(
        both.values().map(|(name, _)| &**name).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

fn session(life: u64, used_ms: u64) -> Record {
    let life = Stamp { time: life, node: 1 };
    Record {
        max_inactive: Some(Register {
            life,
            stamp: life,
            value: IdleLimit::Millis(1000),
        }),
        ..Record::touch_only(Touch { life, at_ms: used_ms })
    }
}

#[test]
fn a_use_that_was_not_known_to_who_called_it_idle_wins_in_any_order() {
    let known = session(1, 50);
    let idle = Record::expiry(known.last_touch.unwrap());
    let later = Record::touch_only(Touch {
        at_ms: 60,
        ..known.last_touch.unwrap()
    });
    assert!(!joined(&known, &idle).is_alive());
    assert!(joined(&joined(&known, &idle), &later).is_alive());
    assert!(joined(&joined(&known, &later), &idle).is_alive());
}

#[test]
fn a_session_that_was_shed_and_used_after_all_is_incomplete_until_the_rest_arrives() {
    let known = session(1, 50);
    let mut shed = joined(&known, &Record::expiry(known.last_touch.unwrap()));
    shed.shed();
    assert_eq!((shed.is_alive(), shed.last_touch), (false, None));
    let later = joined(&known, &session(1, 60));
    shed.join(&Record::touch_only(later.last_touch.unwrap()));
    assert!(shed.is_alive() && !shed.is_complete());
    shed.join(&later);
    assert!(shed.is_alive() && shed.is_complete());
    assert_eq!(shed.digest(), later.digest());
}

#[test]
fn a_deletion_is_final_whatever_was_used_later() {
    let mut record = session(1, 50);
    record.join(&Record::tombstone(Stamp { time: 2, node: 1 }));
    record.join(&session(1, 60));
    assert!(!record.is_alive());
}

#[test]
fn a_later_end_under_the_old_id_forgets_where_it_went() {
    let mut old = Record::moved(Stamp { time: 3, node: 1 }, "new".into());
    old.join(&Record::tombstone(Stamp { time: 4, node: 1 }));
    assert_eq!(old.past.moved, None);
    old.join(&Record::moved(Stamp { time: 3, node: 1 }, "new".into()));
    assert_eq!(old.past.moved, None);
}
