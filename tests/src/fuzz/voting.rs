//! What voters say to one another, one of each kind.

use limpet_core::base::id::{NodeId, SessionKey};
use limpet_core::replication::message::Message;
use limpet_core::replication::quorum::{Ballot, Epoch, QuorumMessage, Rank, Voter, VoterSet};
use limpet_core::session::Record;

fn voter(name: &str, memory: u64) -> Voter {
    Voter {
        node: NodeId::parse(name).expect("a name"),
        memory,
    }
}

/// One message of each kind; those about keys carry `record`.
pub(super) fn messages(record: &Record) -> Vec<(&'static str, Message)> {
    let ballot = Ballot { round: 1, memory: 2 };
    let rank = Rank {
        epoch: 1,
        sequence: 1,
    };
    let voters = vec![voter("n1", 1), voter("n2", 2), voter("n3", 3)];
    let epoch = Epoch {
        number: 1,
        since: 1,
        voters: VoterSet::majority_of(voters.clone()),
        reads: vec![VoterSet::majority_of(voters.clone())],
        owners: voters,
    };
    let one = || vec![(SessionKey::new("shop", "S1"), record.clone())];
    let all = [
        (
            "voter-status",
            QuorumMessage::Status { epoch: 1, synced: 1 },
            Vec::new(),
        ),
        (
            "voter-prepare",
            QuorumMessage::Prepare { slot: 2, ballot },
            Vec::new(),
        ),
        (
            "voter-promise",
            QuorumMessage::Promise {
                slot: 2,
                ballot,
                accepted: Some((ballot, epoch.clone())),
            },
            Vec::new(),
        ),
        (
            "voter-accept-epoch",
            QuorumMessage::AcceptEpoch {
                ballot,
                epoch: epoch.clone(),
            },
            Vec::new(),
        ),
        (
            "voter-accepted-epoch",
            QuorumMessage::AcceptedEpoch { slot: 2, ballot },
            Vec::new(),
        ),
        ("voter-chosen", QuorumMessage::Chosen(epoch), Vec::new()),
        ("voter-forget", QuorumMessage::Forget(voter("n3", 3)), Vec::new()),
        ("voter-read", QuorumMessage::Read { epoch: 1, request: 9 }, one()),
        (
            "voter-register",
            QuorumMessage::Register {
                request: 9,
                rank: Some(rank),
            },
            one(),
        ),
        ("voter-accept", QuorumMessage::Accept(rank), one()),
        ("voter-accepted", QuorumMessage::Accepted(rank), Vec::new()),
        ("voter-pull", QuorumMessage::Pull { epoch: 1 }, one()),
        (
            "voter-page",
            QuorumMessage::Page {
                epoch: 1,
                ranks: vec![rank],
                last: true,
            },
            one(),
        ),
    ];
    let said = all.into_iter().map(|(name, body, records)| {
        let message = Message::Quorum {
            memory: 2,
            body,
            records,
        };
        (name, message)
    });
    said.collect()
}
