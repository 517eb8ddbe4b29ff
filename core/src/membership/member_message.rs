//! What membership says on a link, beside what SWIM says: questions about a member, about clocks, and which run of
//! the listener is known. The bytes of a gossip message, and nothing else, are one of these.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The longest word. SWIM's own packets are the largest part of it.
const WORD_MAX: usize = 128 << 10;
type Config = Configuration<LittleEndian, Varint, Limit<WORD_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<WORD_MAX>();

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum MemberMessage {
    /// A packet of SWIM.
    Swim(Vec<u8>),
    /// The latest run of the listener the speaker has heard of. One that is later than the listener's own is a
    /// former run whose clock was ahead.
    Known {
        /// When that run began.
        incarnation: u64,
    },
    /// The run of `node` refuses the speaker's connections. Does the listener still hear it?
    Missed {
        /// The member.
        node: String,
        /// Which run of it.
        incarnation: u64,
    },
    /// The run of `node` has a link to the speaker and says nothing on it. Did the listener hear it lately?
    Silent {
        /// The member.
        node: String,
        /// Which run of it.
        incarnation: u64,
    },
    /// The answer to either.
    Heard {
        /// The member.
        node: String,
        /// Which run of it.
        incarnation: u64,
        /// Whether the speaker's link to it stayed up all the while, or whether it was heard lately.
        alive: bool,
    },
    /// Say again what you are: ready, leaving, which workers.
    AnnounceRequest,
    /// What is the time?
    ClockRequest {
        /// The speaker's wall clock, in milliseconds since 1970.
        asked_ms: u64,
    },
    /// The answer.
    Time {
        /// As it was asked.
        asked_ms: u64,
        /// The speaker's wall clock, in milliseconds since 1970.
        now_ms: u64,
    },
}

impl MemberMessage {
    /// Its bytes. Empty, which is no word, if it is too long to be said.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, CONFIG).unwrap_or_default()
    }

    /// Reads a word that fills `bytes` exactly.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (word, read) = bincode::decode_from_slice(bytes, CONFIG).ok()?;
        (read == bytes.len()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_anything_else_is_none() {
        for word in [
            MemberMessage::Swim(vec![1, 2, 3]),
            MemberMessage::Known {
                incarnation: u64::MAX,
            },
            MemberMessage::Missed {
                node: "a".into(),
                incarnation: 1,
            },
            MemberMessage::Silent {
                node: "a".into(),
                incarnation: 1,
            },
            MemberMessage::Heard {
                node: "a".into(),
                incarnation: 1,
                alive: true,
            },
            MemberMessage::AnnounceRequest,
            MemberMessage::ClockRequest { asked_ms: 7 },
            MemberMessage::Time {
                asked_ms: 7,
                now_ms: 9,
            },
        ] {
            let bytes = word.encode();
            assert_eq!(MemberMessage::decode(&bytes), Some(word));
            assert_eq!(MemberMessage::decode(&bytes[..bytes.len() - 1]), None);
            assert_eq!(MemberMessage::decode(&[&bytes[..], &[0]].concat()), None);
        }
        assert_eq!(MemberMessage::decode(&[]), None);
        assert_eq!(MemberMessage::decode(&[200; 9]), None);
    }
}
