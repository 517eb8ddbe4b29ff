//! A message between two nodes, and its bytes: a version, a kind, then either bincode 2 in its standard configuration
//! (control messages) or records ([`super::records`]).
//!
//! The frame around a message (a length before it) belongs to [`crate::net`].

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use super::position::{Sequence, StreamId};
use super::primitives::{self, Reader};
use super::proposal::{Proposal, Verdict, WireProposal, WireVerdict};
use super::quorum::QuorumMessage;
use super::records;
use super::transfer::{Cursor, Pull};
use crate::base::id::SessionKey;
use crate::base::limits::FRAME_MAX;
use crate::session::{Record, Touch};

mod control;
mod error;
mod voting;

use control::{Control, WireCursor};
pub use error::{EncodeError, PeerMisbehaved};

/// The version of every message between nodes.
pub const PROTOCOL: u8 = 3;

type Config = Configuration<LittleEndian, Varint, Limit<FRAME_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<FRAME_MAX>();

/// A message between two nodes that are linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A message of membership, in its own encoding ([`crate::membership::MemberMessage`]).
    Gossip(Vec<u8>),
    /// The sender's state and its workers. Replaces the announcement before it.
    Announce(Announce),
    /// A batch of changes.
    Deltas {
        /// The last sequence of the batch; acknowledges all of it.
        sequence: Sequence,
        /// The changes, in order. One session may come up several times.
        changes: Vec<(SessionKey, Record)>,
    },
    /// A cumulative acknowledgement: everything on `stream` up to `sequence` was received, and joined but for what
    /// the sender refused.
    Ack {
        /// The stream on which the changes came.
        stream: StreamId,
        /// The last sequence that was received.
        sequence: Sequence,
        /// Up to this sequence something was refused; [`Sequence::ZERO`] when nothing was.
        refused: Sequence,
    },
    /// A request for a chunk of the table.
    Pull(Pull),
    /// A chunk of the table; answers [`Message::Pull`].
    Chunk {
        /// The request it answers.
        request: u64,
        /// The records, tombstones included.
        records: Vec<(SessionKey, Record)>,
        /// Where the next chunk begins; `None` after the last.
        next: Option<Cursor>,
    },
    /// The digest of every bucket of the sender's table.
    Digest(Vec<u64>),
    /// A request for [`Message::Digest`].
    DigestRequest,
    /// One digest of the sender's whole table.
    Summary(u64),
    /// The sender serves too many transfers to answer a [`Message::Pull`] now: ask another node, or later.
    Busy {
        /// The request that is not answered.
        request: u64,
    },
    /// A hinted handoff: the sender holds these sessions and is none of their holders. Does the receiver, which is one,
    /// hold them in the same state?
    HandoffOffer {
        /// Numbers the offer.
        request: u64,
        /// The sessions.
        sessions: Vec<OfferedSession>,
    },
    /// Answers [`Message::HandoffOffer`].
    HandoffLacking {
        /// The offer it answers.
        request: u64,
        /// The sessions that the sender does not hold in the state they were offered in.
        sessions: Vec<SessionKey>,
    },
    /// A request for one session.
    Fetch {
        /// Numbers the request.
        request: u64,
        /// The session.
        key: SessionKey,
    },
    /// Answers [`Message::Fetch`].
    Fetched {
        /// The request it answers.
        request: u64,
        /// The session.
        key: SessionKey,
        /// What the sender holds of it; `None` when that is nothing, not even a tombstone.
        record: Option<Box<Record>>,
        /// Whether the sender is told of every change to the session, or knows that there is no such session. `false` for a
        /// copy that it only borrowed, and where others may have one.
        kept: bool,
    },
    /// The sender asks the receiver to decide a conditional change.
    Propose {
        /// Numbers the request.
        request: u64,
        /// The session.
        key: SessionKey,
        /// What the sender holds of it, for the receiver to join before it decides.
        known: Box<Record>,
        /// The change; `None` where the message only carries a part of what the sender holds, and more follows.
        proposal: Option<Box<Proposal>>,
    },
    /// Answers [`Message::Propose`].
    Decided {
        /// The request it answers.
        request: u64,
        /// The session.
        key: SessionKey,
        /// What became of the proposal.
        verdict: Verdict,
        /// Of a change that was made, its delta. Where the condition does not hold, what the sender holds of the session.
        record: Box<Record>,
    },
    /// Said among the voters that decide by majority.
    Quorum {
        /// Numbers the memory of the sender.
        memory: u64,
        /// What is said.
        body: QuorumMessage,
        /// The sessions that it is about, with what the sender holds of them. None of it is known to be decided.
        records: Vec<(SessionKey, Record)>,
    },
}

impl Message {
    /// Whether it may change the sessions of the receiver.
    #[must_use]
    pub const fn changes_sessions(&self) -> bool {
        matches!(
            self,
            Self::Deltas { .. }
                | Self::Chunk { .. }
                | Self::Digest(_)
                | Self::Summary(_)
                | Self::HandoffOffer { .. }
                | Self::Fetched { .. }
                | Self::Propose { .. }
                | Self::Decided { .. }
        )
    }
}

impl Message {
    /// The records it carries, in order; none where it carries something else.
    #[must_use]
    pub fn into_records(self) -> Vec<(SessionKey, Record)> {
        match self {
            Self::Deltas { changes, .. } => changes,
            Self::Chunk { records, .. } | Self::Quorum { records, .. } => records,
            Self::Fetched { key, record, .. } => {
                record.into_iter().map(|record| (key.clone(), *record)).collect()
            }
            Self::Propose {
                key, known: record, ..
            }
            | Self::Decided { key, record, .. } => vec![(key, *record)],
            _ => Vec::new(),
        }
    }
}

/// A session in a handoff offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedSession {
    /// Its key.
    pub key: SessionKey,
    /// [`Record::digest_with_end`].
    pub digest: u64,
    /// Its last touch.
    pub last_touch: Option<Touch>,
}

/// A node's announcement of its own state. Moments are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Announce {
    /// Whether it has the whole table.
    pub ready: bool,
    /// Whether it is about to stop.
    pub leaving: bool,
    /// What the clock reads that it counts idle sessions with.
    pub time_ms: u64,
    /// It has forgotten tombstones up to this moment; 0 for none.
    pub forgotten_until_ms: u64,
    /// When its table began.
    pub memory_since_ms: u64,
    /// When the receiver's table began, as far as the sender knows.
    pub receiver_memory_since_ms: u64,
    /// Since when the receiver has been away, as the sender sees it; [`u64::MAX`] when it is not.
    pub receiver_lost_since_ms: u64,
    /// How many members it counts, itself included.
    pub members: u32,
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

/// Kinds of body: control messages in bincode, and those that hold records.
const CONTROL: u8 = 0;
const DELTAS: u8 = 1;
const CHUNK: u8 = 2;
const FETCHED: u8 = 3;
const PROPOSE: u8 = 4;
const DECIDED: u8 = 5;
const QUORUM: u8 = 6;

/// What a [`Message::Fetched`] brings.
const NOTHING: u8 = 0;
const KEPT: u8 = 1;
const BORROWED: u8 = 2;
const NOWHERE: u8 = 3;

/// Encodes `message`.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(message: &Message) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::new();
    encode_into(message, &mut bytes)?;
    Ok(bytes)
}

/// Appends `message`.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_into(message: &Message, into: &mut Vec<u8>) -> Result<(), EncodeError> {
    bounded(into, |into| append(message, into))
}

/// Appends [`Message::Deltas`] without copying the changes.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_deltas<'a>(
    sequence: Sequence,
    changes: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Record)>,
    into: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    bounded(into, |into| {
        append_deltas(sequence, changes, into);
        Ok(())
    })
}

/// Appends a message that fits into a frame, or nothing.
fn bounded(
    into: &mut Vec<u8>,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let begin = into.len();
    let appended = append(into).and_then(|()| match into.len() - begin {
        bytes if bytes > FRAME_MAX => Err(EncodeError::TooLarge { bytes }),
        _ => Ok(()),
    });
    if appended.is_err() {
        into.truncate(begin);
    }
    appended
}

fn append_deltas<'a>(
    sequence: Sequence,
    changes: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Record)>,
    into: &mut Vec<u8>,
) {
    into.extend([PROTOCOL, DELTAS]);
    primitives::number(sequence.number(), into);
    records::write(changes, into);
}

fn append(message: &Message, into: &mut Vec<u8>) -> Result<(), EncodeError> {
    let control = match message {
        Message::Deltas { sequence, changes } => {
            append_deltas(*sequence, changes.iter().map(|(key, record)| (key, record)), into);
            return Ok(());
        }
        Message::Chunk {
            request,
            records,
            next,
        } => {
            into.extend([PROTOCOL, CHUNK]);
            primitives::number(*request, into);
            append_bincode(&next.as_ref().map(WireCursor::from), into)?;
            records::write(records.iter().map(|(key, record)| (key, record)), into);
            return Ok(());
        }
        Message::Fetched {
            request,
            key,
            record,
            kept,
        } => {
            into.extend([PROTOCOL, FETCHED]);
            primitives::number(*request, into);
            into.push(match (record, kept) {
                (None, true) => NOWHERE,
                (None, false) => NOTHING,
                (Some(_), true) => KEPT,
                (Some(_), false) => BORROWED,
            });
            let nothing = Record::default();
            records::write([(key, record.as_deref().unwrap_or(&nothing))].into_iter(), into);
            return Ok(());
        }
        Message::Propose {
            request,
            key,
            known,
            proposal,
        } => {
            into.extend([PROTOCOL, PROPOSE]);
            primitives::number(*request, into);
            append_bincode(&proposal.as_deref().map(WireProposal::from), into)?;
            records::write([(key, &**known)].into_iter(), into);
            return Ok(());
        }
        Message::Decided {
            request,
            key,
            verdict,
            record,
        } => {
            into.extend([PROTOCOL, DECIDED]);
            primitives::number(*request, into);
            append_bincode(&WireVerdict::from(*verdict), into)?;
            records::write([(key, &**record)].into_iter(), into);
            return Ok(());
        }
        Message::Quorum {
            memory,
            body,
            records,
        } => {
            return voting::append(*memory, body, records, into);
        }
        Message::Gossip(bytes) => Control::Gossip(bytes.clone()),
        Message::Announce(announce) => Control::Announce(announce.clone()),
        Message::Ack {
            stream,
            sequence,
            refused,
        } => Control::Ack(stream.number(), sequence.number(), refused.number()),
        Message::Pull(pull) => pull.into(),
        Message::Digest(digests) => Control::Digest(digests.clone()),
        Message::DigestRequest => Control::DigestRequest,
        Message::Summary(summary) => Control::Summary(*summary),
        Message::Busy { request } => Control::Busy(*request),
        Message::HandoffOffer { request, sessions } => {
            Control::HandoffOffer(*request, sessions.iter().map(Into::into).collect())
        }
        Message::HandoffLacking { request, sessions } => {
            Control::HandoffLacking(*request, sessions.iter().map(Into::into).collect())
        }
        Message::Fetch { request, key } => Control::Fetch(*request, key.into()),
    };
    into.extend([PROTOCOL, CONTROL]);
    append_bincode(&control, into)
}

fn append_bincode(value: &impl Encode, into: &mut Vec<u8>) -> Result<(), EncodeError> {
    let written = bincode::encode_into_std_write(value, into, CONFIG);
    written
        .map(drop)
        .map_err(|error| EncodeError::Unencodable(error.to_string()))
}

/// Decodes a message that fills `bytes` exactly.
///
/// # Errors
/// See [`PeerMisbehaved`].
pub fn decode(bytes: &[u8]) -> Result<Message, PeerMisbehaved> {
    let mut reader = Reader::new(bytes);
    let version = reader.byte()?;
    if version != PROTOCOL {
        return Err(PeerMisbehaved::UnknownVersion { found: version });
    }
    let message = match reader.byte()? {
        CONTROL => decode_bincode::<Control>(&mut reader)?.try_into()?,
        DELTAS => Message::Deltas {
            sequence: Sequence::new(reader.number()?),
            changes: records::read(&mut reader)?,
        },
        CHUNK => Message::Chunk {
            request: reader.number()?,
            next: decode_bincode::<Option<WireCursor>>(&mut reader)?
                .map(Cursor::try_from)
                .transpose()?,
            records: records::read(&mut reader)?,
        },
        FETCHED => {
            let (request, found) = (reader.number()?, reader.byte()?);
            let (key, record) = read_one(&mut reader)?;
            let record = matches!(found, KEPT | BORROWED).then(|| Box::new(record));
            Message::Fetched {
                request,
                key,
                record,
                kept: matches!(found, KEPT | NOWHERE),
            }
        }
        PROPOSE => {
            let request = reader.number()?;
            let proposal = decode_bincode::<Option<WireProposal>>(&mut reader)?;
            let (key, known) = read_one(&mut reader)?;
            Message::Propose {
                request,
                key,
                known: Box::new(known),
                proposal: proposal.map(|proposal| Box::new(proposal.into())),
            }
        }
        DECIDED => {
            let request = reader.number()?;
            let verdict = decode_bincode::<WireVerdict>(&mut reader)?.into();
            let (key, record) = read_one(&mut reader)?;
            Message::Decided {
                request,
                key,
                verdict,
                record: Box::new(record),
            }
        }
        QUORUM => voting::read(&mut reader)?,
        kind => return Err(PeerMisbehaved::UnknownKind(kind)),
    };
    match reader.len() {
        0 => Ok(message),
        left => Err(PeerMisbehaved::TrailingBytes(left)),
    }
}

/// Records that are to be one.
fn read_one(reader: &mut Reader) -> Result<(SessionKey, Record), PeerMisbehaved> {
    let mut records = records::read(reader)?;
    let count = records.len();
    match (records.pop(), records.pop()) {
        (Some(one), None) => Ok(one),
        _ => Err(PeerMisbehaved::NotOneRecord(count)),
    }
}

fn decode_bincode<T: Decode<()>>(from: &mut Reader) -> Result<T, PeerMisbehaved> {
    let bytes = from.rest();
    let standard = bincode::config::standard();
    // Memory for a list is taken when its length is read, so a short message may announce little. No type takes more
    // than 64 times as much memory as bytes on the wire.
    let decoded = match bytes.len() {
        0..=0x400 => bincode::decode_from_slice(bytes, standard.with_limit::<0x1_0000>()),
        0x401..=0x4000 => bincode::decode_from_slice(bytes, standard.with_limit::<0x10_0000>()),
        0x4001..=0x2_0000 => bincode::decode_from_slice(bytes, standard.with_limit::<0x80_0000>()),
        _ => bincode::decode_from_slice(bytes, CONFIG),
    };
    let (value, read) = decoded?;
    from.take(read)?;
    Ok(value)
}

#[cfg(test)]
pub(in crate::replication) mod tests;
