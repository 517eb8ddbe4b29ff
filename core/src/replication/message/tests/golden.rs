//! The bytes of one message of each kind, as the first release of protocol version 3 wrote them.
//!
//! Nodes of one cluster are upgraded one by one, so these bytes change only together with [`PROTOCOL`].

use super::*;

fn stamp(time: u64, node: u64) -> Stamp {
    Stamp { time, node }
}

fn key(id: &str) -> SessionKey {
    SessionKey::new("shop", id)
}

const LIFE: Stamp = Stamp {
    time: 1_700_000_000_000 << 16,
    node: 0x1122_3344_5566_7788,
};

fn written<T>(value: T) -> Register<T> {
    Register {
        life: LIFE,
        stamp: stamp(1_700_000_000_500 << 16 | 3, 0x99),
        value,
    }
}

fn touch(after_ms: u64) -> Touch {
    Touch {
        life: LIFE,
        at_ms: LIFE.wall_ms() + after_ms,
    }
}

/// A session with every part a record can have.
fn whole() -> Record {
    let attributes = [
        ("cart".into(), written(Some(Value::from(*b"two")))),
        ("gone".into(), written(None)),
    ];
    Record {
        lifecycle: LifecycleBox::from(Lifecycle {
            deleted: stamp(1_600_000_000_000 << 16, 7),
            fates: Fates::from_iter([(
                stamp(1_500_000_000_000 << 16, 9),
                Fate::Ended(stamp(1_500_000_000_900 << 16, 9)),
            )]),
            expired: Some(touch(10)),
            renamed_from: Some(Box::new(written(Origin {
                id: "OLD".into(),
                names: vec![Name {
                    id: "OLD".into(),
                    life: stamp(1_699_000_000_000 << 16, 7),
                    left: None,
                }],
                first: stamp(1_699_000_000_000 << 16, 7),
            }))),
        }),
        last_touch: Some(touch(700)),
        max_inactive: Some(written(IdleLimit::Millis(1_800_000))),
        route: Some(written("node1".into())),
        attributes: attributes.into_iter().collect(),
    }
}

fn one_attribute() -> Record {
    Record {
        last_touch: Some(touch(500)),
        attributes: [("cart".into(), written(Some(Value::from(*b"two"))))]
            .into_iter()
            .collect(),
        ..Record::default()
    }
}

fn moved() -> Record {
    let fate = Fate::Renamed(Renamed {
        at: stamp(1_700_000_001_000 << 16, 7),
        to: "NEW".into(),
        from: "OLD".into(),
        first: LIFE,
    });
    Record::of_fates(Fates::from_iter([(LIFE, fate)]))
}

fn announce() -> Announce {
    Announce {
        ready: true,
        leaving: false,
        time_ms: 1,
        forgotten_until_ms: 2,
        memory_since_ms: 3,
        receiver_memory_since_ms: 4,
        receiver_lost_since_ms: u64::MAX,
        members: 6,
        workers: vec![DeclaredWorker {
            route: "node1".into(),
            url: "http://127.0.0.1:8080".into(),
            addr: "127.0.0.1:8080".into(),
            weight: 1,
            healthy: true,
        }],
    }
}

#[test]
fn each_kind_of_message_has_these_bytes() {
    let cursor = Cursor {
        bucket: 5,
        after: Some(key("S1")),
    };
    let buckets = Buckets::range(3, 70);
    let fixtures = [
        (Message::Gossip(vec![1, 2, 3]), "03000003010203"),
        (
            Message::Announce(announce()),
            "030001010001020304fdffffffffffffffff0601056e6f64653115687474703a2f2f3132372e302e302e313a\
            383038300e3132372e302e302e313a383038300101",
        ),
        (
            Message::Deltas {
                sequence: Sequence::new(300),
                changes: vec![
                    (key("0123456789abcdef"), one_attribute()),
                    (key("S1"), whole()),
                    (key("OLD"), moved()),
                    (key("S2"), Record::touch_only(touch(9))),
                    (key("S3"), Record::expiry(touch(9))),
                    (
                        key("S4"),
                        one_attribute().deletion(stamp(1_700_000_002_000 << 16, 7)),
                    ),
                ],
            },
            "0301ac02060c000473686f70c80123456789abcdefe8a7abfef96203009900000000000000e70700018877\
            6655443322110004636172740374776f217f02533102000300e7070001e7a7b787e9050002070000000000\
            000001ff9fb787e9050003090000000000000001880e0003f8b1ee8ed20b000114000001f80a0001c0ee6d\
            0001056e6f64653100034f4c44ffa7d6b90700020000000374776f0204676f6e65042102034f4c44000180\
            a8d6b907000102d00f0002cf0f0001034e4557034f4c442108025332000000011221040253330000000112\
            210302533400a01f0002019f1f000100",
        ),
        (
            Message::Ack {
                stream: StreamId::new(2),
                sequence: Sequence::new(300),
                refused: Sequence::new(5),
            },
            "03000202fb2c0105",
        ),
        (
            Message::Pull(Pull {
                request: 9,
                buckets,
                cursor: cursor.clone(),
                bytes: 65_536,
            }),
            "0300030910fdf8ffffffffffffff3f000000000000000000000000000005010473686f70025331fc00000100",
        ),
        (
            Message::Chunk {
                request: 9,
                records: vec![(key("S1"), whole())],
                next: Some(cursor),
            },
            "0302090105010473686f7002533101207f000473686f7002533102e8a7abfef96203009900000000000000\
            e70700018877665544332211e7a7b787e9050002070000000000000001ff9fb787e9050003090000000000\
            000001880e0003f8b1ee8ed20b000114000001f80a0001c0ee6d0000056e6f64653100034f4c44ffa7d6b9\
            07000200010463617274000374776f0204676f6e6504",
        ),
        (
            Message::Chunk {
                request: 9,
                records: Vec::new(),
                next: None,
            },
            "0302090000",
        ),
        (
            Message::Digest(vec![0, 1, u64::MAX]),
            "030004030001fdffffffffffffffff",
        ),
        (Message::DigestRequest, "030005"),
        (Message::Summary(77), "0300064d"),
        (Message::Busy { request: 9 }, "03000709"),
        (
            Message::HandoffOffer {
                request: 9,
                sessions: vec![OfferedSession {
                    key: key("S1"),
                    digest: 1000,
                    last_touch: Some(touch(9)),
                }],
            },
            "03000809010473686f70025331fbe80301fd00000068e5cf8b01fd8877665544332211fd0968e5cf8b010000",
        ),
        (
            Message::HandoffLacking {
                request: 9,
                sessions: vec![key("S1"), key("S2")],
            },
            "03000909020473686f700253310473686f70025332",
        ),
        (
            Message::Fetch {
                request: 9,
                key: key("S1"),
            },
            "03000a090473686f70025331",
        ),
        (
            Message::Fetched {
                request: 9,
                key: key("S1"),
                record: Some(Box::new(one_attribute())),
                kept: true,
            },
            "03030901010c000473686f70025331e8a7abfef96203009900000000000000e7070001887766554433221100\
            04636172740374776f",
        ),
        (
            Message::Fetched {
                request: 9,
                key: key("S1"),
                record: None,
                kept: false,
            },
            "030309000100000473686f7002533100",
        ),
        (
            Message::Propose {
                request: 9,
                key: key("S1"),
                known: Box::new(one_attribute()),
                proposal: Some(Box::new(Proposal {
                    condition: Condition::Version(stamp(5, 6)),
                    change: Change::Patch(Patch {
                        set: vec![("cart".into(), Value::from(*b"two"))],
                        remove: vec!["gone".into()],
                        max_inactive: Some(IdleLimit::Millis(1000)),
                        route: Some("node1".into()),
                        replace: true,
                    }),
                })),
            },
            "03040901020506000104636172740374776f0104676f6e650101fbe80301056e6f64653101010c000473686f7002\
            5331e8a7abfef96203009900000000000000e707000188776655443322110004636172740374776f",
        ),
        (
            Message::Propose {
                request: 9,
                key: key("S1"),
                known: Box::default(),
                proposal: None,
            },
            "030409000100000473686f7002533100",
        ),
        (
            Message::Decided {
                request: 9,
                key: key("S1"),
                verdict: Verdict::Made {
                    life: stamp(1, 2),
                    stamp: stamp(5, 6),
                },
                record: Box::new(one_attribute()),
            },
            "0305090001020506010c000473686f70025331e8a7abfef96203009900000000000000e7070001887766554433221100\
            04636172740374776f",
        ),
        (
            Message::Decided {
                request: 9,
                key: key("S1"),
                verdict: Verdict::Refused(Refusal::Full(7)),
                record: Box::default(),
            },
            "0305090203070100000473686f7002533100",
        ),
    ];
    for (message, expected) in fixtures {
        let bytes = encode(&message).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{message:?}");
        assert_eq!(decode(&bytes), Ok(message));
    }
}
