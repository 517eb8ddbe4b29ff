//! The bytes of what is said among voters, as the first release of protocol version 3 wrote them.

use super::*;

fn voter(name: &str, memory: u64) -> Voter {
    Voter {
        node: crate::base::id::NodeId::parse(name).unwrap(),
        memory,
    }
}

#[test]
fn each_kind_has_these_bytes() {
    let ballot = Ballot { round: 3, memory: 4 };
    let rank = Rank {
        epoch: 5,
        sequence: 6,
    };
    let epoch = Epoch {
        number: 5,
        since: 2,
        voters: VoterSet::majority_of(vec![voter("n1", 1), voter("n2", 300)]),
        reads: vec![VoterSet::majority_of(vec![voter("n1", 1)])],
        owners: vec![voter("n1", 1)],
    };
    let one = || {
        vec![(
            SessionKey::new("shop", "S1"),
            Record::tombstone(Stamp {
                time: 65_536,
                node: 7,
            }),
        )]
    };
    let fixtures = [
        (
            QuorumMessage::Status { epoch: 5, synced: 2 },
            Vec::new(),
            "03060800050200",
        ),
        (
            QuorumMessage::Prepare { slot: 5, ballot },
            Vec::new(),
            "0306080105030400",
        ),
        (
            QuorumMessage::Promise {
                slot: 5,
                ballot,
                accepted: Some((ballot, epoch.clone())),
            },
            Vec::new(),
            "03060802050304010304050202026e3101026e32fb2c01020101026e31010101026e310100",
        ),
        (
            QuorumMessage::AcceptEpoch {
                ballot,
                epoch: epoch.clone(),
            },
            Vec::new(),
            "030608030304050202026e3101026e32fb2c01020101026e31010101026e310100",
        ),
        (
            QuorumMessage::AcceptedEpoch { slot: 5, ballot },
            Vec::new(),
            "0306080405030400",
        ),
        (
            QuorumMessage::Chosen(epoch),
            Vec::new(),
            "03060805050202026e3101026e32fb2c01020101026e31010101026e310100",
        ),
        (
            QuorumMessage::Forget(voter("n1", 1)),
            Vec::new(),
            "03060806026e310100",
        ),
        (
            QuorumMessage::Read { epoch: 5, request: 9 },
            one(),
            "030608070509012001000473686f70025331000200000700000000000000",
        ),
        (
            QuorumMessage::Register {
                request: 9,
                rank: Some(rank),
            },
            one(),
            "0306080809010506012001000473686f70025331000200000700000000000000",
        ),
        (
            QuorumMessage::Accept(rank),
            one(),
            "030608090506012001000473686f70025331000200000700000000000000",
        ),
        (QuorumMessage::Accepted(rank), Vec::new(), "0306080a050600"),
        (QuorumMessage::Pull { epoch: 5 }, Vec::new(), "0306080b0500"),
        (
            QuorumMessage::Page {
                epoch: 5,
                ranks: vec![rank],
                last: true,
            },
            one(),
            "0306080c0501050601012001000473686f70025331000200000700000000000000",
        ),
    ];
    let mut all = Vec::new();
    for (body, records, expected) in fixtures {
        let message = Message::Quorum {
            memory: 8,
            body,
            records,
        };
        let bytes = encode(&message).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        all.push((hex, expected));
        assert_eq!(decode(&bytes), Ok(message));
    }
    let (found, expected): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    assert_eq!(found, expected);
}
