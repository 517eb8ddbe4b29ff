//! The types of the messages that hold no records, as bincode spells them: the wire's own, so that nothing inside the
//! daemon is encoded as it happens to be.

use bincode::{Decode, Encode};

use super::{Announce, Message, MessageError, Offered};
use crate::base::id::SessionKey;
use crate::replication::digest::Buckets;
use crate::replication::position::{Sequence, StreamId};
use crate::replication::transfer::{Cursor, Pull};
use crate::session::{Stamp, Touch};

#[derive(Encode, Decode)]
pub(super) enum Encoded {
    Gossip(Vec<u8>),
    Announce(Announce),
    Ack(u8, u64, u64),
    Pull {
        request: u64,
        buckets: Vec<u64>,
        cursor: WireCursor,
        bytes: u32,
    },
    Digest(Vec<u64>),
    Compare,
    Summary(u64),
    Busy(u64),
    Offer(u64, Vec<(WireKey, u64, Option<WireUsed>)>),
    Lacking(u64, Vec<WireKey>),
    Fetch(u64, WireKey),
}

#[derive(Encode, Decode)]
pub(super) struct WireKey(String, String);

#[derive(Encode, Decode)]
pub(super) struct WireCursor(u32, Option<WireKey>);

#[derive(Encode, Decode)]
pub(super) struct WireStamp(u64, u64);

#[derive(Encode, Decode)]
pub(super) struct WireUsed(WireStamp, u64);

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

impl From<Touch> for WireUsed {
    fn from(last_touch: Touch) -> Self {
        Self(last_touch.life.into(), last_touch.at_ms)
    }
}

impl From<WireUsed> for Touch {
    fn from(WireUsed(life, at_ms): WireUsed) -> Self {
        Self {
            life: life.into(),
            at_ms,
        }
    }
}

impl Encoded {
    /// The message as this spells it; `None` of one that consists of records.
    pub(super) fn of(message: &Message) -> Option<Self> {
        Some(match message {
            Message::Gossip(bytes) => Self::Gossip(bytes.clone()),
            Message::Announce(announce) => Self::Announce(announce.clone()),
            Message::Ack {
                stream,
                sequence,
                refused,
            } => Self::Ack(stream.number(), sequence.number(), refused.number()),
            Message::Pull(pull) => Self::Pull {
                request: pull.request,
                buckets: pull.buckets.words().to_vec(),
                cursor: (&pull.cursor).into(),
                bytes: u32::try_from(pull.bytes).unwrap_or(u32::MAX),
            },
            Message::Digest(digests) => Self::Digest(digests.clone()),
            Message::Compare => Self::Compare,
            Message::Offer { request, sessions } => {
                let encoded = |o: &Offered| ((&o.key).into(), o.digest, o.last_touch.map(WireUsed::from));
                Self::Offer(*request, sessions.iter().map(encoded).collect())
            }
            Message::Lacking { request, sessions } => {
                Self::Lacking(*request, sessions.iter().map(WireKey::from).collect())
            }
            Message::Fetch { request, key } => Self::Fetch(*request, key.into()),
            Message::Deltas { .. } | Message::Chunk { .. } | Message::Fetched { .. } => return None,
            Message::Summary(summary) => Self::Summary(*summary),
            Message::Busy { request } => Self::Busy(*request),
        })
    }
}

impl TryFrom<Encoded> for Message {
    type Error = MessageError;

    fn try_from(encoded: Encoded) -> Result<Self, MessageError> {
        Ok(match encoded {
            Encoded::Gossip(bytes) => Self::Gossip(bytes),
            Encoded::Announce(announce) => Self::Announce(announce),
            Encoded::Ack(stream, sequence, refused) => Self::Ack {
                stream: StreamId::new(stream),
                sequence: Sequence::new(sequence),
                refused: Sequence::new(refused),
            },
            Encoded::Pull {
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
            Encoded::Digest(digests) => Self::Digest(digests),
            Encoded::Compare => Self::Compare,
            Encoded::Offer(request, sessions) => {
                let read = |(key, digest, last_touch): (WireKey, u64, Option<WireUsed>)| {
                    let (key, last_touch) = (key.try_into()?, last_touch.map(Touch::from));
                    Ok::<_, MessageError>(Offered {
                        key,
                        digest,
                        last_touch,
                    })
                };
                let sessions = sessions.into_iter().map(read).collect::<Result<_, _>>()?;
                Self::Offer { request, sessions }
            }
            Encoded::Lacking(request, sessions) => {
                let sessions = sessions
                    .into_iter()
                    .map(SessionKey::try_from)
                    .collect::<Result<_, _>>()?;
                Self::Lacking { request, sessions }
            }
            Encoded::Fetch(request, key) => {
                let key = key.try_into()?;
                Self::Fetch { request, key }
            }
            Encoded::Summary(summary) => Self::Summary(summary),
            Encoded::Busy(request) => Self::Busy { request },
        })
    }
}
