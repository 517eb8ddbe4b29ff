//! How many bytes records take, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::replication::message::{Message, encode};
use crate::replication::position::Sequence;

const NOW_MS: u64 = 1_700_000_000_000;

/// A change of one attribute of 8 bytes, of a session that began some minutes ago, and its touch.
fn update(n: u64) -> Record {
    let life = Stamp {
        time: (NOW_MS - 600_000 - 997 * n) << 16 | (n % 3),
        node: 0x1234_5678_9abc_def0 + n % 3,
    };
    let stamp = Stamp {
        time: (NOW_MS + n / 40) << 16 | (n % 40),
        node: 0x1234_5678_9abc_def0,
    };
    let value = Some((&n.to_le_bytes()[..]).into());
    Record {
        last_touch: Some(Touch {
            life,
            at_ms: stamp.wall_ms(),
        }),
        attributes: [("cart".into(), Register { life, stamp, value })]
            .into_iter()
            .collect(),
        ..Record::default()
    }
}

fn bytes_each(ids: impl Fn(u64) -> String) -> f64 {
    let changes = (0..200)
        .map(|n| (SessionKey::parse("shop", &ids(n)).unwrap(), update(n)))
        .collect();
    let message = Message::Deltas {
        sequence: Sequence::first_at(NOW_MS),
        changes,
    };
    let frame_and_tls = 4 + 5 + 17;
    (encode(&message).unwrap().len() + frame_and_tls) as f64 / 200.0
}

#[test]
fn an_update_of_one_attribute_takes_at_most_54_bytes_in_a_batch() {
    // The peer is a Redis replica, to which the same is 54 bytes without TLS.
    let any = bytes_each(|n| format!("{n:_>32}"));
    let hexadecimal = bytes_each(|n| {
        format!(
            "{:032X}",
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        )
    });
    println!("{any} bytes per update; {hexadecimal} where ids are hexadecimal");
    assert!(any <= 54.0, "{any}");
    assert!(hexadecimal <= 38.0, "{hexadecimal}");
}

#[test]
fn ids_of_every_kind_and_length_come_back() {
    let mut ids: Vec<String> = (1..=256).map(|len| "x".repeat(len)).collect();
    ids.extend((1..=256).map(|len| "F".repeat(len)));
    ids.extend((1..=256).map(|len| "0a".repeat(len).chars().take(len).collect()));
    ids.extend([
        "aF".to_owned(),
        "0123456789ABCDEF".to_owned(),
        "0123456789abcdef".to_owned(),
    ]);
    for id in ids {
        let mut out = Vec::new();
        write_id(&id, &mut out);
        let mut reader = Reader::new(&out);
        assert_eq!(read_id(&mut reader).as_deref(), Ok(id.as_str()));
        assert_eq!(reader.len(), 0);
    }
}

#[test]
fn a_touch_and_a_tombstone_are_short() {
    let life = update(1).last_touch.unwrap().life;
    for record in [
        Record::touch_only(Touch { life, at_ms: NOW_MS }),
        Record::tombstone(life),
    ] {
        let key = SessionKey::parse("shop", &"x".repeat(32)).unwrap();
        let mut out = Vec::new();
        write([(&key, &record), (&key, &record)].into_iter(), &mut out);
        let one = out.len();
        write([(&key, &record)].into_iter(), &mut out);
        assert!(one - (out.len() - one) < 50, "{one}");
    }
}

#[test]
fn a_record_part_of_another_version_is_refused() {
    let record = update(1);
    let key = SessionKey::parse("shop", "S1").unwrap();
    let mut out = Vec::new();
    write([(&key, &record)].into_iter(), &mut out);
    assert!(read(&mut Reader::new(&out)).is_ok());
    if let Some(flags) = out.get_mut(1) {
        *flags |= 0x40;
    }
    let refused = read(&mut Reader::new(&out));
    assert!(
        matches!(refused, Err(PeerMisbehaved::UnknownRecordPart { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_huge_count_allocates_nothing() {
    for claim in [RECORDS_MAX as u64, u64::MAX] {
        let mut out = Vec::new();
        number(claim, &mut out);
        assert!(read(&mut Reader::new(&out)).is_err());
    }
}

proptest! {
    #[test]
    fn garbled_records_are_errors_never_panics(
        records in prop::collection::vec(crate::replication::message::tests::records(), 0..5),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let key = SessionKey::parse("shop", "S1").unwrap();
        let mut out = Vec::new();
        write(records.iter().map(|record| (&key, record)), &mut out);
        let index = at.index(out.len());
        out[index] = with;
        if let Ok(read) = read(&mut Reader::new(&out)) {
            for (_, record) in read {
                let mut joined = Record::default();
                joined.join(&record);
                prop_assert_eq!(joined.lifecycle.deleted, record.lifecycle.deleted);
                prop_assert!(record.life().is_none_or(|life| life > record.lifecycle.deleted));
            }
        }
    }
}
