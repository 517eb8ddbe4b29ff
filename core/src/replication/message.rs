//! What one node says to another, and how it becomes bytes: a version byte, then bincode 2 in its standard
//! configuration. The wire's types are its own; nothing inside the daemon is encoded as it happens to be.
//!
//! The frame around a message (a length before it) belongs to the net.

use std::sync::Arc;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};
use bytes::Bytes;
use limpet_wire::report::IdleLimit;

use super::digest::Buckets;
use super::lanes::Lane;
use super::outbox::Slot;
use super::transfer::{Cursor, Pull};
use crate::base::id::SessionKey;
use crate::base::limits::FRAME_MAX;
use crate::session::{Moved, Record, Register, Stamp, Used};

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
        slot: Slot,
        /// The changes, in order.
        changes: Vec<(SessionKey, Record)>,
    },
    /// Every slot of `lane` up to `slot` is received, and applied but for what the receiver refused.
    Ack {
        /// The lane on which the changes came.
        lane: Lane,
        /// The last slot.
        slot: Slot,
        /// Up to this slot something was refused; 0 when nothing was.
        refused: Slot,
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
    pub used: Option<Used>,
}

/// A node's word about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Announce {
    /// Whether it has the whole table.
    pub ready: bool,
    /// Whether it is about to stop.
    pub leaving: bool,
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

/// Encodes `message`.
///
/// # Errors
/// When it would pass [`FRAME_MAX`].
pub fn encode(message: &Message) -> Result<Vec<u8>, MessageError> {
    let mut bytes = vec![PROTOCOL];
    let body = bincode::encode_to_vec(Spelled::from(message), CONFIG)
        .map_err(|e| MessageError::Malformed(e.to_string()))?;
    bytes.extend_from_slice(&body);
    if bytes.len() > FRAME_MAX {
        return Err(MessageError::Malformed(format!(
            "{} bytes where {FRAME_MAX} are allowed",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// Decodes a message that fills `bytes` exactly.
///
/// # Errors
/// See [`MessageError`].
pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    let malformed = |what: &str| MessageError::Malformed(what.to_owned());
    let (version, body) = bytes.split_first().ok_or_else(|| malformed("empty frame"))?;
    if *version != PROTOCOL {
        return Err(MessageError::Version { found: *version });
    }
    let (spelled, read): (Spelled, usize) =
        bincode::decode_from_slice(body, CONFIG).map_err(|e| MessageError::Malformed(e.to_string()))?;
    if read != body.len() {
        return Err(malformed("bytes after the end of the message"));
    }
    Message::try_from(spelled)
}

// === the wire's own types ===

#[derive(Encode, Decode)]
enum Spelled {
    Gossip(Vec<u8>),
    Announce(Announce),
    Deltas(u64, Vec<(WireKey, WireRecord)>),
    Ack(u8, u64, u64),
    Pull {
        request: u64,
        buckets: Vec<u64>,
        cursor: WireCursor,
        bytes: u32,
    },
    Chunk {
        request: u64,
        records: Vec<(WireKey, WireRecord)>,
        next: Option<WireCursor>,
    },
    Digest(Vec<u64>),
    Compare,
    Summary(u64),
    Busy(u64),
    Offer(u64, Vec<(WireKey, u64, Option<WireUsed>)>),
    Lacking(u64, Vec<WireKey>),
    Fetch(u64, WireKey),
    Fetched(u64, WireKey, Option<Box<WireRecord>>),
}

#[derive(Encode, Decode)]
struct WireKey(String, String);

#[derive(Encode, Decode)]
struct WireCursor(u32, Option<WireKey>);

#[derive(Encode, Decode)]
struct WireStamp(u64, u64);

#[derive(Encode, Decode)]
struct WireRegister<T>(WireStamp, WireStamp, T);

#[derive(Encode, Decode)]
struct WireUsed(WireStamp, u64);

#[derive(Encode, Decode)]
struct WireRecord {
    deleted: Option<WireStamp>,
    moved: Option<String>,
    ended: Option<WireUsed>,
    used: Option<WireUsed>,
    max_inactive: Option<WireRegister<IdleLimit>>,
    route: Option<WireRegister<String>>,
    origin: Option<WireRegister<String>>,
    attributes: Vec<(String, WireRegister<Option<Vec<u8>>>)>,
}

impl From<&SessionKey> for WireKey {
    fn from(key: &SessionKey) -> Self {
        Self(key.app().to_owned(), key.id().to_owned())
    }
}

impl TryFrom<WireKey> for SessionKey {
    type Error = MessageError;

    fn try_from(WireKey(app, id): WireKey) -> Result<Self, MessageError> {
        Self::received(&app, &id).ok_or_else(|| MessageError::Malformed("not a session key".into()))
    }
}

impl From<&Cursor> for WireCursor {
    fn from(cursor: &Cursor) -> Self {
        Self(
            u32::try_from(cursor.bucket).unwrap_or(u32::MAX),
            cursor.after.as_ref().map(WireKey::from),
        )
    }
}

impl TryFrom<WireCursor> for Cursor {
    type Error = MessageError;

    fn try_from(WireCursor(bucket, after): WireCursor) -> Result<Self, MessageError> {
        let bucket = usize::try_from(bucket).unwrap_or(usize::MAX);
        Ok(Self {
            bucket,
            after: after.map(SessionKey::try_from).transpose()?,
        })
    }
}

impl From<Stamp> for WireStamp {
    fn from(stamp: Stamp) -> Self {
        Self(stamp.time, stamp.node)
    }
}

impl From<WireStamp> for Stamp {
    fn from(WireStamp(time, node): WireStamp) -> Self {
        Self { time, node }
    }
}

impl From<Used> for WireUsed {
    fn from(used: Used) -> Self {
        Self(used.life.into(), used.at_ms)
    }
}

impl From<WireUsed> for Used {
    fn from(WireUsed(life, at_ms): WireUsed) -> Self {
        Self {
            life: life.into(),
            at_ms,
        }
    }
}

fn spell<T, U>(register: &Register<T>, value: impl FnOnce(&T) -> U) -> WireRegister<U> {
    WireRegister(
        register.life.into(),
        register.stamp.into(),
        value(&register.value),
    )
}

fn read<T, U>(WireRegister(life, stamp, value): WireRegister<U>, inside: impl FnOnce(U) -> T) -> Register<T> {
    Register {
        life: life.into(),
        stamp: stamp.into(),
        value: inside(value),
    }
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> Self {
        Self {
            deleted: (record.deleted != Stamp::ZERO).then(|| record.deleted.into()),
            moved: record.moved.as_ref().map(|moved| moved.to.to_string()),
            ended: record.ended.map(WireUsed::from),
            used: record.used.map(WireUsed::from),
            max_inactive: record.max_inactive.as_ref().map(|r| spell(r, |v| *v)),
            route: record.route.as_ref().map(|r| spell(r, |v| v.to_string())),
            origin: record.origin.as_ref().map(|r| spell(r, |v| v.to_string())),
            attributes: record
                .attributes
                .iter()
                .map(|(name, r)| (name.to_string(), spell(r, |v| v.as_ref().map(|b| b.to_vec()))))
                .collect(),
        }
    }
}

impl From<WireRecord> for Record {
    /// Joins into an empty record, so that what a peer sends is in normal form whatever it sent.
    fn from(wire: WireRecord) -> Self {
        let deleted = wire.deleted.map_or(Stamp::ZERO, Stamp::from);
        let mut record = Self::tombstone(deleted);
        record.join(&Self {
            deleted: Stamp::ZERO,
            moved: wire.moved.map(|to| Moved {
                over: deleted,
                to: to.into(),
            }),
            ended: wire.ended.map(Used::from),
            used: wire.used.map(Used::from),
            max_inactive: wire.max_inactive.map(|r| read(r, |v| v)),
            route: wire.route.map(|r| read(r, Arc::from)),
            origin: wire.origin.map(|r| read(r, Arc::from)),
            attributes: wire
                .attributes
                .into_iter()
                .map(|(name, r)| (Arc::from(name), read(r, |v| v.map(Bytes::from))))
                .collect(),
        });
        record
    }
}

fn spell_all(changes: &[(SessionKey, Record)]) -> Vec<(WireKey, WireRecord)> {
    changes
        .iter()
        .map(|(key, record)| (key.into(), record.into()))
        .collect()
}

fn read_all(changes: Vec<(WireKey, WireRecord)>) -> Result<Vec<(SessionKey, Record)>, MessageError> {
    changes
        .into_iter()
        .map(|(key, record)| Ok((key.try_into()?, record.into())))
        .collect()
}

impl From<&Message> for Spelled {
    fn from(message: &Message) -> Self {
        match message {
            Message::Gossip(bytes) => Self::Gossip(bytes.clone()),
            Message::Announce(announce) => Self::Announce(announce.clone()),
            Message::Deltas { slot, changes } => Self::Deltas(*slot, spell_all(changes)),
            Message::Ack { lane, slot, refused } => Self::Ack(*lane, *slot, *refused),
            Message::Pull(pull) => Self::Pull {
                request: pull.request,
                buckets: pull.buckets.words().to_vec(),
                cursor: (&pull.cursor).into(),
                bytes: u32::try_from(pull.bytes).unwrap_or(u32::MAX),
            },
            Message::Chunk {
                request,
                records,
                next,
            } => Self::Chunk {
                request: *request,
                records: spell_all(records),
                next: next.as_ref().map(WireCursor::from),
            },
            Message::Digest(digests) => Self::Digest(digests.clone()),
            Message::Compare => Self::Compare,
            Message::Offer { request, sessions } => {
                let spelled = |o: &Offered| ((&o.key).into(), o.digest, o.used.map(WireUsed::from));
                Self::Offer(*request, sessions.iter().map(spelled).collect())
            }
            Message::Lacking { request, sessions } => {
                Self::Lacking(*request, sessions.iter().map(WireKey::from).collect())
            }
            Message::Fetch { request, key } => Self::Fetch(*request, key.into()),
            Message::Fetched { request, key, record } => Self::Fetched(
                *request,
                key.into(),
                record.as_deref().map(|r| Box::new(r.into())),
            ),
            Message::Summary(summary) => Self::Summary(*summary),
            Message::Busy { request } => Self::Busy(*request),
        }
    }
}

impl TryFrom<Spelled> for Message {
    type Error = MessageError;

    fn try_from(spelled: Spelled) -> Result<Self, MessageError> {
        Ok(match spelled {
            Spelled::Gossip(bytes) => Self::Gossip(bytes),
            Spelled::Announce(announce) => Self::Announce(announce),
            Spelled::Deltas(slot, changes) => Self::Deltas {
                slot,
                changes: read_all(changes)?,
            },
            Spelled::Ack(lane, slot, refused) => Self::Ack { lane, slot, refused },
            Spelled::Pull {
                request,
                buckets,
                cursor,
                bytes,
            } => Self::Pull(Pull {
                request,
                buckets: Buckets::from_words(&buckets),
                cursor: cursor.try_into()?,
                bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            }),
            Spelled::Chunk {
                request,
                records,
                next,
            } => Self::Chunk {
                request,
                records: read_all(records)?,
                next: next.map(Cursor::try_from).transpose()?,
            },
            Spelled::Digest(digests) => Self::Digest(digests),
            Spelled::Compare => Self::Compare,
            Spelled::Offer(request, sessions) => {
                let read = |(key, digest, used): (WireKey, u64, Option<WireUsed>)| {
                    let (key, used) = (key.try_into()?, used.map(Used::from));
                    Ok::<_, MessageError>(Offered { key, digest, used })
                };
                let sessions = sessions.into_iter().map(read).collect::<Result<_, _>>()?;
                Self::Offer { request, sessions }
            }
            Spelled::Lacking(request, sessions) => {
                let sessions = sessions
                    .into_iter()
                    .map(SessionKey::try_from)
                    .collect::<Result<_, _>>()?;
                Self::Lacking { request, sessions }
            }
            Spelled::Fetch(request, key) => {
                let key = key.try_into()?;
                Self::Fetch { request, key }
            }
            Spelled::Fetched(request, key, record) => {
                let (key, record) = (key.try_into()?, record.map(|r| Box::new((*r).into())));
                Self::Fetched { request, key, record }
            }
            Spelled::Summary(summary) => Self::Summary(summary),
            Spelled::Busy(request) => Self::Busy { request },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        (1_u64..=u64::MAX, any::<u64>()).prop_map(|(time, node)| Stamp { time, node })
    }

    fn keys() -> impl Strategy<Value = SessionKey> {
        ("[a-z]{1,8}", "[!-~]{1,40}").prop_map(|(app, id)| SessionKey::new(&app, &id))
    }

    fn records() -> impl Strategy<Value = Record> {
        let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..50));
        let attribute = ("[a-z]{1,8}", stamps(), stamps(), value);
        let idle = prop_oneof![Just(IdleLimit::Forever), any::<u64>().prop_map(IdleLimit::Millis)];
        (
            prop::collection::vec(attribute, 0..4),
            prop::option::of((stamps(), idle)),
            "[a-z]{0,4}",
        )
            .prop_map(|(attributes, idle, route)| Record {
                max_inactive: idle.map(|(s, value)| Register {
                    life: s,
                    stamp: s,
                    value,
                }),
                route: (!route.is_empty()).then(|| Register {
                    life: Stamp { time: 9, node: 9 },
                    stamp: Stamp { time: 10, node: 9 },
                    value: route.into(),
                }),
                attributes: attributes
                    .into_iter()
                    .map(|(name, life, stamp, v)| {
                        (
                            name.into(),
                            Register {
                                life,
                                stamp,
                                value: v.map(Bytes::from),
                            },
                        )
                    })
                    .collect(),
                ..Record::default()
            })
            .prop_map(|parts| {
                // What is sent is in normal form.
                let mut record = Record::default();
                record.join(&parts);
                record
            })
    }

    fn messages() -> impl Strategy<Value = Message> {
        let changes = prop::collection::vec((keys(), records()), 0..4).boxed();
        let cursor = (0_usize..2000, prop::option::of(keys()))
            .prop_map(|(bucket, after)| Cursor { bucket, after })
            .boxed();
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100).prop_map(Message::Gossip),
            (any::<u8>(), any::<u64>(), any::<u64>()).prop_map(|(lane, slot, refused)| Message::Ack {
                lane,
                slot,
                refused
            }),
            (any::<u64>(), changes.clone()).prop_map(|(slot, changes)| Message::Deltas { slot, changes }),
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
            Just(Message::Compare),
            (any::<u64>(), keys(), any::<u64>(), stamps()).prop_map(|(request, key, digest, life)| {
                let used = Some(Used { life, at_ms: digest });
                let sessions = vec![Offered { key, digest, used }];
                Message::Offer { request, sessions }
            }),
            (any::<u64>(), prop::collection::vec(keys(), 0..4))
                .prop_map(|(request, sessions)| Message::Lacking { request, sessions }),
            (any::<u64>(), keys()).prop_map(|(request, key)| Message::Fetch { request, key }),
            (
                any::<u64>(),
                keys(),
                prop::option::of(records().prop_map(Box::new))
            )
                .prop_map(|(request, key, record)| Message::Fetched { request, key, record }),
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
        fn arbitrary_bytes_are_an_answer_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_message_cut_short_is_refused(message in messages(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&message).unwrap();
            prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_length_that_claims_the_world_allocates_nothing() {
        let claim = [PROTOCOL, 0, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert!(matches!(decode(&claim), Err(MessageError::Malformed(_))));
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(decode(&[9, 3, 1]), Err(MessageError::Version { found: 9 }));
    }
}
