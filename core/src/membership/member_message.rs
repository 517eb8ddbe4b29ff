//! The messages of membership, as they travel in a `Gossip` message of a link: SWIM's packets, probes of a member by
//! way of others, clock readings, lists of members, refusals of stamps, and the latest known incarnation of the receiver.
//!
//! This file is their encoding. What a node answers is decided by [`crate::engine::members`].

use std::net::SocketAddr;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The longest message, in bytes. SWIM's own packets are the largest part of it.
const MESSAGE_MAX: usize = 128 << 10;
type Config = Configuration<LittleEndian, Varint, Limit<MESSAGE_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<MESSAGE_MAX>();

/// One message. The order of the variants is the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MemberMessage {
    /// A packet of SWIM.
    Swim(Vec<u8>),
    /// The latest incarnation of the receiver that the sender has heard of. A later one than the receiver's own is of
    /// a former process, whose clock was ahead.
    KnownIncarnation {
        /// That incarnation.
        incarnation: u64,
    },
    /// A probe request: `node` refuses the sender's connections. Does the receiver's link to it stay up?
    ProbeRefused {
        /// The suspected member.
        node: String,
        /// Its incarnation.
        incarnation: u64,
    },
    /// A probe request: `node` is linked to the sender and sends nothing. Did it send the receiver anything lately?
    ProbeSilent {
        /// The suspected member.
        node: String,
        /// Its incarnation.
        incarnation: u64,
    },
    /// The answer to either probe request.
    ProbeReply {
        /// The suspected member.
        node: String,
        /// Its incarnation.
        incarnation: u64,
        /// Whether the member is alive, as far as the sender of the reply can tell.
        alive: bool,
    },
    /// Asks the receiver to announce again what it is: ready, leaving, its workers.
    AnnounceRequest,
    /// Asks for the receiver's clocks.
    ClockRequest {
        /// The sender's monotonic clock, in milliseconds.
        asked_ms: u64,
    },
    /// The answer to a clock request.
    ClockReply {
        /// As it was in the request.
        asked_ms: u64,
        /// The sender's wall clock, in milliseconds since 1970.
        now_ms: u64,
        /// The cluster's time, unless the sender is joining and does not know it yet.
        time: Option<ClusterTime>,
    },
    /// Asks which members the receiver knows to be alive. A node that joins has to hear of every one of them.
    MembersRequest,
    /// The answer: the members that the sender counts as alive and that do not leave, itself not included.
    MembersReply {
        /// Their names, and where they listen.
        members: Vec<(String, SocketAddr)>,
    },
    /// The answer to changes of the receiver that the sender refused, because they were stamped too far ahead.
    StampRefused {
        /// How far the furthest was ahead of the sender's time, in milliseconds.
        ahead_ms: u64,
    },
}

/// The time by which a node stamps changes and counts idle sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ClusterTime {
    /// What it reads, in milliseconds since 1970.
    pub now_ms: u64,
    /// The time scale: the number drawn by the node that began it. Nodes with one scale have been together.
    pub scale: u64,
    /// How long ago the scale was begun, in milliseconds.
    pub age_ms: u64,
}

impl MemberMessage {
    /// Its bytes. Empty, which decodes to nothing, if they would be more than 128 KiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, CONFIG).unwrap_or_default()
    }

    /// Reads a message that fills `bytes` exactly.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (message, read) = bincode::decode_from_slice(bytes, CONFIG).ok()?;
        (read == bytes.len()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_and_anything_else_is_none() {
        for message in [
            MemberMessage::Swim(vec![1, 2, 3]),
            MemberMessage::KnownIncarnation {
                incarnation: u64::MAX,
            },
            MemberMessage::ProbeRefused {
                node: "a".into(),
                incarnation: 1,
            },
            MemberMessage::ProbeSilent {
                node: "a".into(),
                incarnation: 1,
            },
            MemberMessage::ProbeReply {
                node: "a".into(),
                incarnation: 1,
                alive: true,
            },
            MemberMessage::AnnounceRequest,
            MemberMessage::ClockRequest { asked_ms: 7 },
            MemberMessage::ClockReply {
                asked_ms: 7,
                now_ms: 9,
                time: None,
            },
            MemberMessage::MembersRequest,
            MemberMessage::MembersReply {
                members: vec![("a".into(), "[::1]:4000".parse().unwrap())],
            },
            MemberMessage::ClockReply {
                asked_ms: 7,
                now_ms: 9,
                time: Some(ClusterTime {
                    now_ms: 8,
                    scale: u64::MAX,
                    age_ms: 3,
                }),
            },
            MemberMessage::StampRefused { ahead_ms: 60_001 },
        ] {
            let bytes = message.encode();
            assert_eq!(MemberMessage::decode(&bytes), Some(message));
            assert_eq!(MemberMessage::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(MemberMessage::decode(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(MemberMessage::decode(&[]), None);
        assert_eq!(MemberMessage::decode(&[200; 9]), None);
    }

    #[test]
    fn the_encoding_is_the_one_other_versions_read() {
        let probe = MemberMessage::ProbeSilent {
            node: "b".into(),
            incarnation: 7,
        };
        assert_eq!(probe.encode(), [3, 1, b'b', 7]);
        assert_eq!(MemberMessage::AnnounceRequest.encode(), [5]);
        assert_eq!(MemberMessage::MembersRequest.encode(), [8]);
        let members = vec![("a".to_owned(), "10.0.0.1:4000".parse().unwrap())];
        let list = MemberMessage::MembersReply { members };
        assert_eq!(list.encode(), [9, 1, 1, b'a', 0, 10, 0, 0, 1, 0xfb, 0xa0, 0x0f]);
    }
}
