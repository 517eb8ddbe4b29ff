//! What one node says to another, and how it becomes bytes: a version, a kind, then bincode 2 in its standard
//! configuration, or records ([`super::records`]).
//!
//! The frame around a message (a length before it) belongs to the net.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use super::compact::{self, Malformed, Reader};
use super::position::{Sequence, StreamId};
use super::records;
use super::transfer::{Cursor, Pull};
use crate::base::id::SessionKey;
use crate::base::limits::FRAME_MAX;
use crate::session::{Record, Touch};

mod encoding;

use encoding::{Encoded, WireCursor};

/// The version of every message between nodes.
pub const PROTOCOL: u8 = 2;

type Config = Configuration<LittleEndian, Varint, Limit<FRAME_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<FRAME_MAX>();

/// A message between two nodes that know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Membership's own bytes.
    Gossip(Vec<u8>),
    /// What the sender is and which workers it declares. Replaces the one before it.
    Announce(Announce),
    /// Changes; to be acknowledged by `slot` once applied.
    Deltas {
        /// The last slot of the batch.
        sequence: Sequence,
        /// The changes, in order.
        changes: Vec<(SessionKey, Record)>,
    },
    /// Every slot of `stream` up to `slot` is received, and applied but for what the receiver refused.
    Ack {
        /// The stream on which the changes came.
        stream: StreamId,
        /// The last slot.
        sequence: Sequence,
        /// Up to this slot something was refused; 0 when nothing was.
        refused: Sequence,
    },
    /// Send a chunk of the table.
    Pull(Pull),
    /// A chunk of the table.
    Chunk {
        /// The request it answers.
        request: u64,
        /// The records, tombstones included.
        records: Vec<(SessionKey, Record)>,
        /// Where to go on; `None` at the end.
        next: Option<Cursor>,
    },
    /// The digest of every bucket of the sender's table.
    Digest(Vec<u64>),
    /// Send your digest.
    Compare,
    /// One number for all the sender's table holds.
    Summary(u64),
    /// The sender has too many to send chunks to: ask somebody else, or later.
    Busy {
        /// The request that is not answered.
        request: u64,
    },
    /// Sessions the sender holds and should not: does the receiver, who should, hold them?
    Offer {
        /// Numbers the question.
        request: u64,
        /// The sessions.
        sessions: Vec<Offered>,
    },
    /// Which of the sessions it was offered the sender does not hold as they were offered.
    Lacking {
        /// The question it answers.
        request: u64,
        /// The sessions.
        sessions: Vec<SessionKey>,
    },
    /// Send this session.
    Fetch {
        /// Numbers the question.
        request: u64,
        /// The session.
        key: SessionKey,
    },
    /// A session as the sender knows it.
    Fetched {
        /// The question it answers.
        request: u64,
        /// The session.
        key: SessionKey,
        /// `None` when nothing is known of it, not even its end.
        record: Option<Box<Record>>,
    },
}

impl Message {
    /// Whether it says something of sessions that may change the receiver's.
    #[must_use]
    pub const fn is_of_sessions(&self) -> bool {
        matches!(
            self,
            Self::Deltas { .. }
                | Self::Chunk { .. }
                | Self::Digest(_)
                | Self::Summary(_)
                | Self::Offer { .. }
                | Self::Fetched { .. }
        )
    }
}

/// A session that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub key: SessionKey,
    /// [`Record::digest`].
    pub digest: u64,
    /// Its last use.
    pub last_touch: Option<Touch>,
}

/// A node's word about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Announce {
    /// Whether it has the whole table.
    pub ready: bool,
    /// Whether it is about to stop.
    pub leaving: bool,
    /// Its idle time: milliseconds since 1970, by the clock it counts idle sessions with.
    pub idle_ms: u64,
    /// Up to this moment it has forgotten ends of sessions, in milliseconds since 1970; 0 for none.
    pub forgot_ms: u64,
    /// When its memory began, in milliseconds since 1970.
    pub born_ms: u64,
    /// When the receiver's memory began, as far as it knows.
    pub misses_born_ms: u64,
    /// Since when it misses the receiver, in milliseconds since 1970; [`u64::MAX`] when it does not.
    pub away_ms: u64,
    /// How many members it counts, itself included.
    pub group: u32,
    /// The workers it declares.
    pub workers: Vec<DeclaredWorker>,
}

/// A worker as its own node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeclaredWorker {
    /// Its name in session ids.
    pub route: String,
    /// Its base URL.
    pub url: String,
    /// `ip:port` of that URL.
    pub addr: String,
    /// Its share of new sessions.
    pub weight: u32,
    /// Whether it passes its health check.
    pub healthy: bool,
}

/// Why bytes from a peer are not a message. The link is closed; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The peer speaks another version; upgrade the older side.
    #[error("protocol version {found} where {PROTOCOL} was expected")]
    Version {
        /// The first byte of the frame.
        found: u8,
    },
    /// No message of this version: an unknown type, or a known one cut short or garbled.
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// How the body of a message is spelled: by bincode, or, because they are many, as records.
const PLAIN: u8 = 0;
const DELTAS: u8 = 1;
const CHUNK: u8 = 2;
const FETCHED: u8 = 3;

/// Encodes `message`.
///
/// # Errors
/// When it would pass [`FRAME_MAX`].
pub fn encode(message: &Message) -> Result<Vec<u8>, MessageError> {
    let mut bytes = Vec::new();
    encode_into(message, &mut bytes)?;
    Ok(bytes)
}

/// Appends `message`.
///
/// # Errors
/// When it would pass [`FRAME_MAX`]; nothing is appended then.
pub fn encode_into(message: &Message, into: &mut Vec<u8>) -> Result<(), MessageError> {
    bounded(into, |into| append(message, into))
}

/// Appends [`Message::Deltas`] of changes that lie wherever they lie.
///
/// # Errors
/// When it would pass [`FRAME_MAX`]; nothing is appended then.
pub fn encode_deltas<'a>(
    sequence: Sequence,
    changes: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Record)>,
    into: &mut Vec<u8>,
) -> Result<(), MessageError> {
    bounded(into, |into| {
        append_deltas(sequence, changes, into);
        Ok(())
    })
}

/// Appends a message, unless it is too large or cannot be spelled.
fn bounded(
    into: &mut Vec<u8>,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), MessageError>,
) -> Result<(), MessageError> {
    let begin = into.len();
    let result = append(into);
    let len = into.len() - begin;
    if result.is_err() || len > FRAME_MAX {
        into.truncate(begin);
    }
    result?;
    if len > FRAME_MAX {
        let problem = format!("{len} bytes where {FRAME_MAX} are allowed");
        return Err(MessageError::Malformed(problem));
    }
    Ok(())
}

fn append_deltas<'a>(
    sequence: Sequence,
    changes: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Record)>,
    into: &mut Vec<u8>,
) {
    into.extend([PROTOCOL, DELTAS]);
    compact::number(sequence.number(), into);
    records::write(changes, into);
}

fn append(message: &Message, into: &mut Vec<u8>) -> Result<(), MessageError> {
    if let Message::Deltas { sequence, changes } = message {
        append_deltas(*sequence, changes.iter().map(|(key, record)| (key, record)), into);
        return Ok(());
    }
    into.push(PROTOCOL);
    match message {
        Message::Chunk {
            request,
            records,
            next,
        } => {
            into.push(CHUNK);
            compact::number(*request, into);
            encode_plain(&next.as_ref().map(WireCursor::from), into)?;
            records::write(records.iter().map(|(key, record)| (key, record)), into);
        }
        Message::Fetched { request, key, record } => {
            into.push(FETCHED);
            compact::number(*request, into);
            into.push(u8::from(record.is_some()));
            let nothing = Record::default();
            let record = record.as_deref().unwrap_or(&nothing);
            records::write([(key, record)].into_iter(), into);
        }
        other => {
            into.push(PLAIN);
            let encoded = Encoded::of(other).ok_or("a message of records")?;
            encode_plain(&encoded, into)?;
        }
    }
    Ok(())
}

fn encode_plain(value: &impl Encode, into: &mut Vec<u8>) -> Result<(), MessageError> {
    let written = bincode::encode_into_std_write(value, into, CONFIG);
    written
        .map(drop)
        .map_err(|e| MessageError::Malformed(e.to_string()))
}

/// Decodes a message that fills `bytes` exactly.
///
/// # Errors
/// See [`MessageError`].
pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != PROTOCOL {
        return Err(MessageError::Version { found: version });
    }
    let message = match reader.byte()? {
        PLAIN => decode_plain::<Encoded>(&mut reader)?.try_into()?,
        DELTAS => Message::Deltas {
            sequence: Sequence::new(reader.number()?),
            changes: records::read(&mut reader)?,
        },
        CHUNK => Message::Chunk {
            request: reader.number()?,
            next: decode_plain::<Option<WireCursor>>(&mut reader)?
                .map(Cursor::try_from)
                .transpose()?,
            records: records::read(&mut reader)?,
        },
        FETCHED => {
            let (request, found) = (reader.number()?, reader.byte()? == 1);
            let mut records = records::read(&mut reader)?.into_iter();
            let (Some((key, record)), None) = (records.next(), records.next()) else {
                return Err("not one session".into());
            };
            let record = found.then(|| Box::new(record));
            Message::Fetched { request, key, record }
        }
        _ => return Err("a message of no kind".into()),
    };
    if reader.len() > 0 {
        return Err("bytes after the end of the message".into());
    }
    Ok(message)
}

fn decode_plain<T: Decode<()>>(from: &mut Reader) -> Result<T, MessageError> {
    let bytes = from.rest();
    let standard = bincode::config::standard();
    // Room for a list is taken when its length is read, so a short message may claim little. Nothing takes 64 times
    // more in memory than it is spelled in.
    let value = match bytes.len() {
        0..=0x400 => bincode::decode_from_slice(bytes, standard.with_limit::<0x1_0000>()),
        0x401..=0x4000 => bincode::decode_from_slice(bytes, standard.with_limit::<0x10_0000>()),
        0x4001..=0x2_0000 => bincode::decode_from_slice(bytes, standard.with_limit::<0x80_0000>()),
        _ => bincode::decode_from_slice(bytes, CONFIG),
    };
    let (value, read) = value.map_err(|e| MessageError::Malformed(e.to_string()))?;
    from.take(read)?;
    Ok(value)
}

impl From<Malformed> for MessageError {
    fn from(problem: Malformed) -> Self {
        Self::Malformed(problem.to_owned())
    }
}

#[cfg(test)]
pub(in crate::replication) mod tests;
