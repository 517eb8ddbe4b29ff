//! Every message round-trips; everything else is refused with a reason.

use proptest::prelude::*;

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::*;
use crate::replication::digest::Buckets;
use crate::replication::proposal::Refusal;
use crate::replication::quorum::{Ballot, Epoch, READS_MAX, Rank, Voter, VoterSet};
use crate::replication::transfer::Pull;
use crate::session::{
    Change, Condition, Fate, Fates, Lifecycle, LifecycleBox, Name, Origin, Patch, Register, Renamed, Stamp,
    Value,
};

mod golden;
mod voting;

fn stamps() -> impl Strategy<Value = Stamp> {
    (1_u64..=u64::MAX, any::<u64>()).prop_map(|(time, node)| Stamp { time, node })
}

fn keys() -> impl Strategy<Value = SessionKey> {
    ("[a-z]{1,8}", "[!-~]{1,40}").prop_map(|(app, id)| SessionKey::new(&app, &id))
}

fn registers<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Register<T>> {
    // Often of one life and stamp, as in real deltas.
    let stamp = prop_oneof![
        Just(Stamp {
            time: 77 << 16 | 3,
            node: 1
        }),
        stamps()
    ];
    let life = prop_oneof![
        Just(Stamp {
            time: 70 << 16,
            node: 1
        }),
        stamps()
    ];
    (life, stamp, value).prop_map(|(life, stamp, value)| Register { life, stamp, value })
}

fn last_touch() -> impl Strategy<Value = Option<Touch>> {
    let life = prop_oneof![
        Just(Stamp {
            time: 70 << 16,
            node: 1
        }),
        stamps()
    ];
    prop::option::of(
        (life, prop_oneof![Just(77), any::<u64>()]).prop_map(|(life, at_ms)| Touch { life, at_ms }),
    )
}

fn fates() -> impl Strategy<Value = Fates> {
    let fate = prop_oneof![
        stamps().prop_map(Fate::Ended),
        (stamps(), stamps(), "[a-z]{0,4}").prop_map(|(at, first, to)| {
            let (to, from) = (Arc::from(to), "from".into());
            Fate::Renamed(Renamed { at, to, from, first })
        }),
    ];
    prop::collection::vec((stamps(), fate), 0..3).prop_map(Fates::from_iter)
}

fn origins() -> impl Strategy<Value = Origin> {
    let name =
        ("[a-z]{0,4}".prop_map(Arc::from), stamps()).prop_map(|(id, life)| Name { id, life, left: None });
    let names = prop::collection::btree_set(name, 1..3);
    ("[a-z]{0,4}".prop_map(Arc::from), names, stamps()).prop_map(|(id, names, first)| {
        let names = names.into_iter().collect();
        Origin { id, names, first }
    })
}

pub(in crate::replication) fn records() -> impl Strategy<Value = Record> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..50).prop_map(Value::from));
    let attributes = prop::collection::vec(("[a-z]{0,3}".prop_map(Arc::from), registers(value)), 0..4);
    let idle = prop_oneof![Just(IdleLimit::Forever), any::<u64>().prop_map(IdleLimit::Millis)];
    let word = || "[a-z]{0,4}".prop_map(Arc::from);
    let lifecycle = (
        prop_oneof![3 => Just(Stamp::ZERO), 1 => stamps()],
        fates(),
        last_touch(),
        last_touch(),
    );
    let parts = (
        prop::option::of(registers(idle)),
        prop::option::of(registers(word())),
        prop::option::of(registers(origins())),
        attributes,
    );
    (lifecycle, parts).prop_map(
        |((deleted, fates, expired, last_touch), (max_inactive, route, renamed_from, attributes))| {
            let mut record = Record::tombstone(deleted);
            record.join(&Record {
                lifecycle: LifecycleBox::from(Lifecycle {
                    deleted: Stamp::ZERO,
                    fates,
                    expired,
                    renamed_from: renamed_from.map(Box::new),
                }),
                last_touch,
                max_inactive,
                route,
                attributes: attributes.into_iter().collect(),
            });
            record
        },
    )
}

fn proposals() -> impl Strategy<Value = Proposal> {
    let condition = prop_oneof![
        Just(Condition::Absent),
        Just(Condition::Present),
        stamps().prop_map(Condition::Version)
    ];
    let idle = prop_oneof![Just(IdleLimit::Forever), any::<u64>().prop_map(IdleLimit::Millis)];
    let value = prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::from);
    let patch = (
        prop::collection::vec(("[a-z]{1,4}", value), 0..3),
        prop::collection::vec("[a-z]{1,4}", 0..3),
        prop::option::of(idle),
        prop::option::of("[a-z]{1,4}"),
        any::<bool>(),
    );
    let patch = patch.prop_map(|(set, remove, max_inactive, route, replace)| {
        Change::Patch(Patch {
            set,
            remove,
            max_inactive,
            route,
            replace,
        })
    });
    let change = prop_oneof![Just(Change::Delete), patch];
    (condition, change).prop_map(|(condition, change)| Proposal { condition, change })
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    let refusals = prop::sample::select(vec![
        Refusal::Unmet,
        Refusal::NotFound,
        Refusal::TooLarge,
        Refusal::Full(9),
        Refusal::Unreachable,
        Refusal::NoQuorum,
        Refusal::Undecided,
    ]);
    prop_oneof![
        (stamps(), stamps()).prop_map(|(life, stamp)| Verdict::Made { life, stamp }),
        Just(Verdict::NotOwner),
        refusals.prop_map(Verdict::Refused)
    ]
}

fn voters() -> impl Strategy<Value = Vec<Voter>> {
    let voter = ("[a-z]{1,8}", any::<u64>()).prop_map(|(name, memory)| Voter {
        node: crate::base::id::NodeId::parse(&name).unwrap(),
        memory,
    });
    prop::collection::btree_set(voter, 0..5).prop_map(|voters| voters.into_iter().collect())
}

fn epochs() -> impl Strategy<Value = Epoch> {
    let sets = (voters(), any::<u32>()).prop_map(|(voters, needed)| VoterSet { voters, needed });
    let sets = sets.boxed();
    let reads = prop::collection::vec(sets.clone(), 0..=READS_MAX);
    (any::<u64>(), any::<u64>(), sets, reads, voters()).prop_map(|(number, since, voters, reads, owners)| {
        Epoch {
            number,
            since,
            voters,
            reads,
            owners,
        }
    })
}

fn quorum_messages() -> impl Strategy<Value = QuorumMessage> {
    let ballots = (any::<u64>(), any::<u64>()).prop_map(|(round, memory)| Ballot { round, memory });
    let ranks = (any::<u64>(), any::<u64>()).prop_map(|(epoch, sequence)| Rank { epoch, sequence });
    let (ballots, ranks) = (ballots.boxed(), ranks.boxed());
    let accepted = prop::option::of((ballots.clone(), epochs()));
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, synced)| QuorumMessage::Status { epoch, synced }),
        (any::<u64>(), ballots.clone()).prop_map(|(slot, ballot)| QuorumMessage::Prepare { slot, ballot }),
        (any::<u64>(), ballots.clone(), accepted).prop_map(|(slot, ballot, accepted)| {
            QuorumMessage::Promise {
                slot,
                ballot,
                accepted,
            }
        }),
        (ballots.clone(), epochs()).prop_map(|(ballot, epoch)| QuorumMessage::AcceptEpoch { ballot, epoch }),
        (any::<u64>(), ballots).prop_map(|(slot, ballot)| QuorumMessage::AcceptedEpoch { slot, ballot }),
        epochs().prop_map(QuorumMessage::Chosen),
        voters().prop_filter_map("one", |mut voters| voters.pop().map(QuorumMessage::Forget)),
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, request)| QuorumMessage::Read { epoch, request }),
        (any::<u64>(), prop::option::of(ranks.clone()))
            .prop_map(|(request, rank)| QuorumMessage::Register { request, rank }),
        ranks.clone().prop_map(QuorumMessage::Accept),
        ranks.clone().prop_map(QuorumMessage::Accepted),
        any::<u64>().prop_map(|epoch| QuorumMessage::Pull { epoch }),
        (any::<u64>(), prop::collection::vec(ranks, 0..4), any::<bool>())
            .prop_map(|(epoch, ranks, last)| QuorumMessage::Page { epoch, ranks, last }),
    ]
}

fn messages() -> impl Strategy<Value = Message> {
    let changes = prop::collection::vec((keys(), records()), 0..4).boxed();
    let cursor = (0_usize..2000, prop::option::of(keys()))
        .prop_map(|(bucket, after)| Cursor { bucket, after })
        .boxed();
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Message::Gossip),
        (any::<u8>(), any::<u64>(), any::<u64>()).prop_map(|(stream, sequence, refused)| Message::Ack {
            stream: StreamId::new(stream),
            sequence: Sequence::new(sequence),
            refused: Sequence::new(refused),
        }),
        (any::<u64>(), changes.clone()).prop_map(|(sequence, changes)| Message::Deltas {
            sequence: Sequence::new(sequence),
            changes
        }),
        (any::<u64>(), cursor.clone()).prop_map(|(request, cursor)| Message::Pull(Pull {
            request,
            buckets: Buckets::ALL,
            cursor,
            bytes: 7,
        })),
        (any::<u64>(), changes, prop::option::of(cursor)).prop_map(|(request, records, next)| {
            Message::Chunk {
                request,
                records,
                next,
            }
        }),
        prop::collection::vec(any::<u64>(), 0..10).prop_map(Message::Digest),
        Just(Message::DigestRequest),
        (any::<u64>(), keys(), any::<u64>(), stamps()).prop_map(|(request, key, digest, life)| {
            let last_touch = Some(Touch { life, at_ms: digest });
            let sessions = vec![OfferedSession {
                key,
                digest,
                last_touch,
            }];
            Message::HandoffOffer { request, sessions }
        }),
        (any::<u64>(), prop::collection::vec(keys(), 0..4))
            .prop_map(|(request, sessions)| Message::HandoffLacking { request, sessions }),
        (any::<u64>(), keys()).prop_map(|(request, key)| Message::Fetch { request, key }),
        (
            any::<u64>(),
            keys(),
            prop::option::of(records().prop_map(Box::new)),
            any::<bool>(),
        )
            .prop_map(|(request, key, record, kept)| Message::Fetched {
                request,
                key,
                record,
                kept,
            }),
        (any::<u64>(), keys(), records(), prop::option::of(proposals())).prop_map(
            |(request, key, known, proposal)| Message::Propose {
                request,
                key,
                known: Box::new(known),
                proposal: proposal.map(Box::new),
            }
        ),
        (any::<u64>(), keys(), verdicts(), records()).prop_map(|(request, key, verdict, record)| {
            Message::Decided {
                request,
                key,
                verdict,
                record: Box::new(record),
            }
        }),
        (
            any::<u64>(),
            quorum_messages(),
            prop::collection::vec((keys(), records()), 0..3)
        )
            .prop_map(|(memory, body, records)| Message::Quorum {
                memory,
                body,
                records,
            }),
        any::<u64>().prop_map(Message::Summary),
        any::<u64>().prop_map(|request| Message::Busy { request }),
    ]
}

proptest! {
    #[test]
    fn every_message_round_trips(message in messages()) {
        prop_assert_eq!(decode(&encode(&message).unwrap()), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_are_errors_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_message_cut_short_is_refused(message in messages(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&message).unwrap();
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

#[test]
fn voters_out_of_order_are_refused() {
    let voter = |name: &str| Voter {
        node: crate::base::id::NodeId::parse(name).unwrap(),
        memory: 1,
    };
    let epoch = Epoch {
        number: 1,
        since: 1,
        voters: VoterSet::majority_of(vec![voter("b"), voter("a")]),
        reads: Vec::new(),
        owners: Vec::new(),
    };
    let message = Message::Quorum {
        memory: 1,
        body: QuorumMessage::Chosen(epoch),
        records: Vec::new(),
    };
    let decoded = decode(&encode(&message).unwrap());
    assert_eq!(decoded, Err(PeerMisbehaved::TooManyVoters));
}

#[test]
fn a_huge_length_allocates_nothing() {
    let huge = [PROTOCOL, 0, 4, 253, 255, 255, 255, 255, 255, 255, 255, 127];
    assert_eq!(decode(&huge), Err(PeerMisbehaved::TooLong));
}

#[test]
fn each_defect_has_its_own_reason() {
    let chunk_of_65537_records = [PROTOCOL, CHUNK, 9, 0, 0x81, 0x80, 0x04];
    let cases: [(&[u8], PeerMisbehaved); 11] = [
        (&[], PeerMisbehaved::Truncated),
        (&[9, 3, 1], PeerMisbehaved::UnknownVersion { found: 9 }),
        (&[PROTOCOL, 9], PeerMisbehaved::UnknownKind(9)),
        (
            &[PROTOCOL, CONTROL, 77],
            PeerMisbehaved::UnknownVariant {
                of: "Control",
                found: 77,
            },
        ),
        (&[PROTOCOL, CONTROL, 6], PeerMisbehaved::Truncated),
        (&[PROTOCOL, CONTROL, 5, 0, 0], PeerMisbehaved::TrailingBytes(2)),
        (
            &[PROTOCOL, CONTROL, 10, 9, 1, 0xff, 1, b'i'],
            PeerMisbehaved::NotUtf8,
        ),
        (
            &[PROTOCOL, CONTROL, 10, 9, 0, 1, b'i'],
            PeerMisbehaved::BadSessionKey,
        ),
        (
            &[PROTOCOL, CONTROL, 1, 2],
            PeerMisbehaved::BadByte {
                expected: "0 or 1",
                found: 2,
            },
        ),
        (
            &chunk_of_65537_records,
            PeerMisbehaved::TooManyRecords {
                found: 65_537,
                max: 65_536,
            },
        ),
        (&[PROTOCOL, FETCHED, 9, 1, 0], PeerMisbehaved::NotOneRecord(0)),
    ];
    for (bytes, reason) in cases {
        assert_eq!(decode(bytes), Err(reason), "{bytes:?}");
    }
}
