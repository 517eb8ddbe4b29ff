//! Why a message cannot be read or written, by who is to blame: the peer that sent it, or this node.
//!
//! What follows is decided elsewhere: [`crate::drivers::links`] closes the link to a peer that misbehaves.

use super::{FRAME_MAX, PROTOCOL};

/// Bytes of a peer that are no message. Nothing was changed.
///
/// [`Self::UnknownVersion`] is the operator's to solve. Anything else is a defect of the peer's program, or of what lies
/// between: TLS has already made sure that the bytes are those that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// It speaks another version of the protocol.
    #[error("the peer speaks protocol version {found}, this node {PROTOCOL}: upgrade the older of the two")]
    UnknownVersion {
        /// The first byte of the frame.
        found: u8,
    },
    /// A kind of message that this version does not have.
    #[error("the peer sent a message of kind {0}, which protocol version {PROTOCOL} does not have")]
    UnknownKind(u8),
    /// A variant of a type that this version does not have.
    #[error("the peer sent variant {found} of {of}, which protocol version {PROTOCOL} does not have")]
    UnknownVariant {
        /// The type.
        of: &'static str,
        /// The number of the variant.
        found: u32,
    },
    /// A part of a record that this version does not have.
    #[error(
        "the peer sent a record with flags {flags:#04x} {more:#04x}, which protocol version {PROTOCOL} does not have"
    )]
    UnknownRecordPart {
        /// The flags.
        flags: u8,
        /// The second byte of flags; 0 where there is none.
        more: u8,
    },
    /// The bytes end inside a field.
    #[error("the peer's message ends inside a field")]
    Truncated,
    /// Bytes follow the last field.
    #[error("the peer's message goes on for {0} bytes after its last field")]
    TrailingBytes(usize),
    /// A number does not fit into what it stands for.
    #[error("the peer's message has a number that is too large for its field")]
    NumberTooLarge,
    /// More records than one message may carry.
    #[error("the peer's message announces {found} records where {max} are allowed")]
    TooManyRecords {
        /// How many it announces.
        found: usize,
        /// [`super::super::records::RECORDS_MAX`].
        max: usize,
    },
    /// More names of one session than there can be.
    #[error("the peer's message announces {found} names of one session where {max} are allowed")]
    TooManyNames {
        /// How many it announces.
        found: usize,
        /// `ORIGIN_NAMES_MAX` of the records.
        max: usize,
    },
    /// A list or text announces more than a message of that length can hold.
    #[error("the peer's message announces more than its length can hold")]
    TooLong,
    /// Text is not UTF-8.
    #[error("the peer's message has text that is not UTF-8")]
    NotUtf8,
    /// App or id of a session are empty, too long, or have bytes that are not allowed.
    #[error("the peer's message names a session by a key that is not allowed")]
    BadSessionKey,
    /// A stamp with more milliseconds or a larger counter than a stamp holds.
    #[error("the peer's message has a stamp that no clock can have taken")]
    BadStamp,
    /// A reference to a word or node that the message has not introduced.
    #[error("the peer's message refers to a word or a node that it has not introduced")]
    UnknownReference,
    /// A register whose head is none.
    #[error("the peer's message has a register with the head {0}, which there is none of")]
    BadRegister(u8),
    /// A byte that should be one of a few.
    #[error("the peer's message has {found} where {expected} is expected")]
    BadByte {
        /// What is expected.
        expected: &'static str,
        /// The byte.
        found: u8,
    },
    /// An answer about one session that holds another number of records.
    #[error("the peer's answer about one session holds {0} records")]
    NotOneRecord(usize),
    /// Longer lists of voters or registers than there can be, or voters out of order.
    #[error("the peer's message lists more voters than there can be, or not in order")]
    TooManyVoters,
    /// Any other way in which a control message cannot be decoded.
    #[error("the peer's control message cannot be decoded")]
    Undecodable,
}

impl From<bincode::error::DecodeError> for PeerMisbehaved {
    fn from(error: bincode::error::DecodeError) -> Self {
        use bincode::error::DecodeError;
        match error {
            DecodeError::UnexpectedEnd { .. } => Self::Truncated,
            DecodeError::LimitExceeded => Self::TooLong,
            DecodeError::UnexpectedVariant { type_name, found, .. } => Self::UnknownVariant {
                of: type_name.rsplit("::").next().unwrap_or(type_name),
                found,
            },
            DecodeError::InvalidBooleanValue(found) => Self::BadByte {
                expected: "0 or 1",
                found,
            },
            DecodeError::InvalidIntegerType { .. } | DecodeError::OutsideUsizeRange(_) => {
                Self::NumberTooLarge
            }
            DecodeError::Utf8 { .. } => Self::NotUtf8,
            _ => Self::Undecodable,
        }
    }
}

/// A message that this node cannot send. Nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than a frame.
    #[error(
        "a message of {bytes} bytes does not fit into a frame of {FRAME_MAX} bytes; store less in one session"
    )]
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
    },
    /// It cannot be encoded: a defect of this program.
    #[error("a message cannot be encoded: {0}")]
    Unencodable(String),
}
