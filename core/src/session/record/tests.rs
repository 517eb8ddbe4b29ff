//! The laws of the join, and what lives, tombstones and expiries mean.

use proptest::prelude::*;

use super::*;

fn stamps() -> impl Strategy<Value = Stamp> {
    (1_u64..6, 1_u64..3).prop_map(|(time, node)| Stamp { time, node })
}

/// A register whose value follows from its stamp: one write has one value.
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
    let expired = prop::option::of(registers());
    let ended = prop::collection::vec(stamps(), 0..2);
    (deleted, attributes, touch, expired, ended).prop_map(|(deleted, attributes, touch, expired, ended)| {
        let mut record = Record::tombstone(deleted);
        let attributes = attributes.into_iter().collect();
        let as_touch = |r: &Register<Attribute>| Touch {
            life: r.life,
            at_ms: r.stamp.time,
        };
        record.join(&Record {
            attributes,
            last_touch: touch.as_ref().map(as_touch),
            lifecycle: LifecycleBox::from(Lifecycle {
                expired: expired.as_ref().map(as_touch),
                fates: ended.into_iter().map(never_seen).collect(),
                ..Lifecycle::default()
            }),
            ..Record::default()
        });
        record
    })
}

/// The fate of a life that no register here belongs to. Where one does, another register that it took the place of is
/// lost with it, and repair brings that back.
fn never_seen(life: Stamp) -> (Stamp, Fate) {
    let life = Stamp {
        time: life.time + 100,
        ..life
    };
    (life, Fate::Ended(life))
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
        let deleted = a.latest();
        let after = joined(&joined(&a, &Record::tombstone(deleted)), &late);
        for register in after.attributes.registers() {
            prop_assert!(register.life > deleted);
        }
    }

    #[test]
    fn fragments_join_to_the_record_and_only_the_last_is_none(a in records(), bytes in 0_usize..1000) {
        let mut fragments = a.clone().split(bytes);
        let whole = fragments.iter().fold(Record::default(), |whole, part| joined(&whole, part));
        prop_assert_eq!(&whole, &joined(&Record::default(), &a));
        fragments.pop();
        prop_assert!(fragments.iter().all(Record::is_fragment));
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

fn session(life: u64, touched_ms: u64) -> Record {
    let life = Stamp { time: life, node: 1 };
    Record {
        max_inactive: Some(Register {
            life,
            stamp: life,
            value: IdleLimit::Millis(1000),
        }),
        ..Record::touch_only(Touch {
            life,
            at_ms: touched_ms,
        })
    }
}

#[test]
fn a_later_touch_refutes_an_expiry_in_any_order() {
    let known = session(1, 50);
    let expiry = Record::expiry(known.last_touch.unwrap());
    let later = Record::touch_only(Touch {
        at_ms: 60,
        ..known.last_touch.unwrap()
    });
    assert!(!joined(&known, &expiry).is_alive());
    assert!(joined(&joined(&known, &expiry), &later).is_alive());
    assert!(joined(&joined(&known, &later), &expiry).is_alive());
}

#[test]
fn a_refuted_expiry_leaves_the_session_incomplete_until_its_contents_arrive() {
    let known = session(1, 50);
    let mut expired = joined(&known, &Record::expiry(known.last_touch.unwrap()));
    expired.drop_expired_contents();
    assert_eq!((expired.is_alive(), expired.last_touch), (false, None));
    let later = joined(&known, &session(1, 60));
    expired.join(&Record::touch_only(later.last_touch.unwrap()));
    assert!(expired.is_alive() && !expired.is_complete());
    expired.join(&later);
    assert!(expired.is_alive() && expired.is_complete());
    assert_eq!(expired.digest(), later.digest());
}

#[test]
fn a_deletion_is_final_whatever_was_touched_later() {
    let mut record = session(1, 50);
    record.join(&Record::tombstone(Stamp { time: 2, node: 1 }));
    record.join(&session(1, 60));
    assert!(!record.is_alive());
}

#[test]
fn what_is_left_when_one_of_two_lives_is_renamed_is_the_other() {
    let (first, second) = (Stamp { time: 3, node: 1 }, Stamp { time: 5, node: 2 });
    let touch = Touch {
        life: second,
        at_ms: 9,
    };
    let mut record = joined(&session(3, 50), &Record::touch_only(touch));
    assert_eq!(record.life(), Some(second));
    record.join(&Record::of_fates(Fates::from_iter([(
        second,
        Fate::Ended(second),
    )])));
    assert_eq!(record.life(), Some(first));
    assert!(record.is_alive() && record.is_complete());
}

#[test]
fn a_session_keeps_the_life_it_was_created_with_through_renames() {
    let created = Stamp { time: 3, node: 1 };
    let at = |time| Stamp { time, node: 2 };
    let once = session(3, 50).renamed_from("a".into(), at(10));
    let twice = once.renamed_from("b".into(), at(20));
    assert_eq!((twice.life(), twice.first_life()), (Some(at(20)), Some(created)));
    assert!(twice.is_of_life(created) && twice.is_of_life(at(20)) && !twice.is_of_life(at(10)));
    let origin = twice.lifecycle.renamed_from.clone().unwrap();
    let names: Vec<_> = origin
        .value
        .names
        .iter()
        .map(|name| (&*name.id, name.life))
        .collect();
    assert_eq!(
        (&*origin.value.id, names),
        ("b", vec![("a", created), ("b", at(10))])
    );
    let left = origin.value.names[0]
        .left
        .as_ref()
        .map(|left| (left.at, &*left.to));
    assert_eq!(left, Some((at(10), "b")));
}

#[test]
fn of_a_long_value_its_beginning_and_its_length_are_shown() {
    assert_eq!(format!("{:?}", Value::from(*b"a\"b\n")), r#""a\"b\n" of 4 bytes"#);
    let long = format!("{:?}", Value::from([b'x'; 5000]));
    assert_eq!(long, format!("\"{}\" of 5000 bytes", "x".repeat(32)));
}
