//! What nodes say to each other: every message, every word of membership, records of every shape.

use std::time::Duration;

use limpet_core::base::id::SessionKey;
use limpet_core::membership::{ClusterTime, MemberMessage, Swim};
use limpet_core::replication::digest::Buckets;
use limpet_core::replication::message::{Announce, DeclaredWorker, Message, OfferedSession};
use limpet_core::replication::position::{Sequence, StreamId};
use limpet_core::replication::proposal::{Proposal, Refusal, Verdict};
use limpet_core::replication::transfer::{Cursor, Pull};
use limpet_core::session::{
    Attributes, Change, Condition, Fate, Fates, Lifecycle, LifecycleBox, Name, Origin, Patch, Record,
    Register, Renamed, Stamp, Touch, Value,
};
use limpet_wire::report::IdleLimit;

use super::engine::WALL_MS;
use super::targets::{identity, receiver, swim_config};

fn stamp(ms: u64, node: u64) -> Stamp {
    Stamp {
        time: (WALL_MS + ms) << 16,
        node,
    }
}

fn register<T>(life: Stamp, stamp: Stamp, value: T) -> Register<T> {
    Register { life, stamp, value }
}

fn key(id: &str) -> SessionKey {
    SessionKey::parse("default", id).expect("a key")
}

/// Records of every shape.
fn records() -> Vec<(SessionKey, Record)> {
    let (life, later) = (stamp(0, 1), stamp(5, 2));
    let last_touch = Touch {
        life,
        at_ms: WALL_MS + 7,
    };
    let session = Record {
        last_touch: Some(last_touch),
        max_inactive: Some(register(life, life, IdleLimit::Millis(1_800_000))),
        route: Some(register(life, later, "b".into())),
        attributes: Attributes::from_iter([
            ("cart".into(), register(life, life, Some(b"shoes"[..].into()))),
            ("gone".into(), register(life, later, None)),
        ]),
        ..Record::default()
    };
    let origin = Origin {
        id: "S1".into(),
        names: vec![Name {
            id: "S1".into(),
            life,
            left: None,
        }],
        first: life,
    };
    let renamed = Record {
        lifecycle: LifecycleBox::from(Lifecycle {
            deleted: life,
            renamed_from: Some(Box::new(register(later, later, origin))),
            ..Lifecycle::default()
        }),
        max_inactive: Some(register(later, later, IdleLimit::Forever)),
        ..Record::default()
    };
    let renamed_to = Fate::Renamed(Renamed {
        at: later,
        to: "S4".into(),
        from: "S1".into(),
        first: life,
    });
    let moved = Record::of_fates(Fates::from_iter([
        (life, renamed_to),
        (later, Fate::Ended(later)),
    ]));
    vec![
        (key("S1"), session),
        (key("S2"), Record::touch_only(last_touch)),
        (
            key("0123456789ABCDEF0123456789ABCDEF"),
            Record::expiry(last_touch),
        ),
        (key("S3"), Record::tombstone(later)),
        (key("S4"), renamed),
        (key("S1"), moved),
    ]
}

pub(super) fn messages() -> Vec<(&'static str, Message)> {
    let records = records();
    let last_touch = Touch {
        life: stamp(0, 1),
        at_ms: WALL_MS,
    };
    let (_, whole) = records[0].clone();
    let announce = Announce {
        ready: true,
        members: 2,
        memory_since_ms: WALL_MS + 1,
        receiver_lost_since_ms: u64::MAX,
        workers: vec![DeclaredWorker {
            route: "b".into(),
            url: "http://10.0.0.2:8080".into(),
            addr: "10.0.0.2:8080".into(),
            weight: 3,
            healthy: true,
        }],
        ..Announce::default()
    };
    let mut all = vec![
        ("announce", Message::Announce(announce)),
        (
            "deltas",
            Message::Deltas {
                sequence: Sequence::new(9),
                changes: records.clone(),
            },
        ),
        (
            "ack",
            Message::Ack {
                stream: StreamId::new(0),
                sequence: Sequence::new(9),
                refused: Sequence::new(8),
            },
        ),
        (
            "pull",
            Message::Pull(Pull {
                request: 3,
                buckets: Buckets::range(0, 70),
                cursor: Cursor {
                    bucket: 1,
                    after: Some(key("S1")),
                },
                bytes: 512 << 10,
            }),
        ),
        (
            "chunk",
            Message::Chunk {
                request: 8,
                records: records.clone(),
                next: Some(Cursor {
                    bucket: 2,
                    after: None,
                }),
            },
        ),
        ("digest", Message::Digest((0..4096).collect())),
        ("compare", Message::DigestRequest),
        ("summary", Message::Summary(77)),
        ("busy", Message::Busy { request: 8 }),
        (
            "offer",
            Message::HandoffOffer {
                request: 5,
                sessions: vec![OfferedSession {
                    key: key("S1"),
                    digest: 1,
                    last_touch: Some(last_touch),
                }],
            },
        ),
        (
            "lacking",
            Message::HandoffLacking {
                request: 5,
                sessions: vec![key("S1"), key("S9")],
            },
        ),
        (
            "fetch",
            Message::Fetch {
                request: 6,
                key: key("S1"),
            },
        ),
        (
            "fetched",
            Message::Fetched {
                request: 6,
                key: key("S1"),
                record: Some(Box::new(whole.clone())),
                kept: true,
            },
        ),
        (
            "propose",
            Message::Propose {
                request: 7,
                key: key("S1"),
                known: Box::new(whole.clone()),
                proposal: Some(Box::new(Proposal {
                    condition: Condition::Version(Stamp { time: 9, node: 2 }),
                    change: Change::Patch(Patch {
                        set: vec![("cart".into(), Value::from(b"3".to_vec()))],
                        remove: vec!["user".into()],
                        max_inactive: Some(IdleLimit::Millis(1000)),
                        route: Some("w1".into()),
                        replace: true,
                    }),
                })),
            },
        ),
        (
            "propose-deletion",
            Message::Propose {
                request: 8,
                key: key("S1"),
                known: Box::default(),
                proposal: Some(Box::new(Proposal {
                    condition: Condition::Absent,
                    change: Change::Delete,
                })),
            },
        ),
        (
            "decided",
            Message::Decided {
                request: 7,
                key: key("S1"),
                verdict: Verdict::Made {
                    life: Stamp { time: 8, node: 2 },
                    stamp: Stamp { time: 9, node: 2 },
                },
                record: Box::new(whole.clone()),
            },
        ),
        (
            "decided-unmet",
            Message::Decided {
                request: 8,
                key: key("S1"),
                verdict: Verdict::Refused(Refusal::Unmet),
                record: Box::default(),
            },
        ),
        (
            "decided-without-majority",
            Message::Decided {
                request: 8,
                key: key("S1"),
                verdict: Verdict::Refused(Refusal::NoQuorum),
                record: Box::default(),
            },
        ),
        (
            "fetched-nothing",
            Message::Fetched {
                request: 6,
                key: key("S7"),
                record: None,
                kept: false,
            },
        ),
    ];
    all.extend(super::voting::messages(&whole));
    all.extend(
        words()
            .into_iter()
            .map(|(name, word)| (name, Message::Gossip(word.encode()))),
    );
    all
}

pub(super) fn words() -> Vec<(&'static str, MemberMessage)> {
    let mut words = vec![
        (
            "known",
            MemberMessage::KnownIncarnation {
                incarnation: WALL_MS + 9,
            },
        ),
        (
            "known-last",
            MemberMessage::KnownIncarnation {
                incarnation: u64::MAX,
            },
        ),
        (
            "missed",
            MemberMessage::ProbeRefused {
                node: "c".into(),
                incarnation: 1,
            },
        ),
        (
            "heard",
            MemberMessage::ProbeReply {
                node: "c".into(),
                incarnation: 1,
                alive: true,
            },
        ),
        ("what-time", MemberMessage::ClockRequest { asked_ms: u64::MAX }),
        (
            "time",
            MemberMessage::ClockReply {
                asked_ms: 0,
                now_ms: u64::MAX,
                time: Some(ClusterTime {
                    now_ms: u64::MAX,
                    scale: u64::MAX,
                    age_ms: u64::MAX,
                }),
            },
        ),
        (
            "stamp-refused",
            MemberMessage::StampRefused { ahead_ms: u64::MAX },
        ),
    ];
    // What another member says when it meets this one, probes it and leaves.
    let mut other = Swim::new(identity("b", 2, WALL_MS + 1), swim_config(), 9);
    let mut met = other.meet(receiver());
    let mut timers = std::mem::take(&mut met.timers);
    let mut packets: Vec<Vec<u8>> = met.datagrams.into_iter().map(|(_, bytes)| bytes).collect();
    let mut me = Swim::new(receiver(), swim_config(), 7);
    for packet in packets.clone() {
        for (_, answer) in me.on_message(&packet).datagrams {
            let heard = other.on_message(&answer);
            timers.extend(heard.timers);
            packets.extend(heard.datagrams.into_iter().map(|(_, bytes)| bytes));
        }
    }
    timers.sort_by_key(|(after, _): &(Duration, _)| *after);
    for (_, timer) in timers {
        packets.extend(other.fire(timer).datagrams.into_iter().map(|(_, bytes)| bytes));
    }
    packets.extend(other.leave().datagrams.into_iter().map(|(_, bytes)| bytes));
    const NAMES: [&str; 6] = ["swim-1", "swim-2", "swim-3", "swim-4", "swim-5", "swim-6"];
    words.extend(
        NAMES
            .into_iter()
            .zip(packets.into_iter().map(MemberMessage::Swim)),
    );
    words
}
