//! Control messages as bincode encodes them: types of the wire's own, so that a change inside the daemon never changes
//! the bytes by accident.
//!
//! A new variant is added at the end. Messages that consist of records are in [`crate::replication::records`].

use bincode::{Decode, Encode};

use super::{Announce, Message, OfferedSession, PeerMisbehaved};
use crate::base::id::SessionKey;
use crate::replication::digest::Buckets;
use crate::replication::position::{Sequence, StreamId};
use crate::replication::transfer::{Cursor, Pull};
use crate::session::{Stamp, Touch};

#[derive(Encode, Decode)]
pub(super) enum Control {
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
    DigestRequest,
    Summary(u64),
    Busy(u64),
    HandoffOffer(u64, Vec<WireOffered>),
    HandoffLacking(u64, Vec<WireKey>),
    Fetch(u64, WireKey),
}

#[derive(Encode, Decode)]
pub(super) struct WireOffered(WireKey, u64, Option<WireTouch>);

#[derive(Encode, Decode)]
pub(super) struct WireKey(String, String);

#[derive(Encode, Decode)]
pub(super) struct WireCursor(u32, Option<WireKey>);

#[derive(Encode, Decode)]
pub(super) struct WireStamp(u64, u64);

#[derive(Encode, Decode)]
pub(super) struct WireTouch(WireStamp, u64);

impl From<&SessionKey> for WireKey {
    fn from(key: &SessionKey) -> Self {
        Self(key.app().to_owned(), key.id().to_owned())
    }
}

impl TryFrom<WireKey> for SessionKey {
    type Error = PeerMisbehaved;

    fn try_from(WireKey(app, id): WireKey) -> Result<Self, PeerMisbehaved> {
        Self::received(&app, &id).ok_or(PeerMisbehaved::BadSessionKey)
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
    type Error = PeerMisbehaved;

    fn try_from(WireCursor(bucket, after): WireCursor) -> Result<Self, PeerMisbehaved> {
        let bucket = usize::try_from(bucket).unwrap_or(usize::MAX);
        Ok(Self {
            bucket,
            after: after.map(SessionKey::try_from).transpose()?,
        })
    }
}

impl From<Touch> for WireTouch {
    fn from(Touch { life, at_ms }: Touch) -> Self {
        Self(WireStamp(life.time, life.node), at_ms)
    }
}

impl From<WireTouch> for Touch {
    fn from(WireTouch(WireStamp(time, node), at_ms): WireTouch) -> Self {
        Self {
            life: Stamp { time, node },
            at_ms,
        }
    }
}

impl From<&OfferedSession> for WireOffered {
    fn from(offered: &OfferedSession) -> Self {
        let last_touch = offered.last_touch.map(WireTouch::from);
        Self((&offered.key).into(), offered.digest, last_touch)
    }
}

impl TryFrom<WireOffered> for OfferedSession {
    type Error = PeerMisbehaved;

    fn try_from(WireOffered(key, digest, last_touch): WireOffered) -> Result<Self, PeerMisbehaved> {
        Ok(Self {
            key: key.try_into()?,
            digest,
            last_touch: last_touch.map(Touch::from),
        })
    }
}

impl From<&Pull> for Control {
    fn from(pull: &Pull) -> Self {
        Self::Pull {
            request: pull.request,
            buckets: pull.buckets.words().to_vec(),
            cursor: (&pull.cursor).into(),
            bytes: u32::try_from(pull.bytes).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<Control> for Message {
    type Error = PeerMisbehaved;

    fn try_from(control: Control) -> Result<Self, PeerMisbehaved> {
        Ok(match control {
            Control::Gossip(bytes) => Self::Gossip(bytes),
            Control::Announce(announce) => Self::Announce(announce),
            Control::Ack(stream, sequence, refused) => Self::Ack {
                stream: StreamId::new(stream),
                sequence: Sequence::new(sequence),
                refused: Sequence::new(refused),
            },
            Control::Pull {
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
            Control::Digest(digests) => Self::Digest(digests),
            Control::DigestRequest => Self::DigestRequest,
            Control::Summary(summary) => Self::Summary(summary),
            Control::Busy(request) => Self::Busy { request },
            Control::HandoffOffer(request, sessions) => Self::HandoffOffer {
                request,
                sessions: all(sessions)?,
            },
            Control::HandoffLacking(request, sessions) => Self::HandoffLacking {
                request,
                sessions: all(sessions)?,
            },
            Control::Fetch(request, key) => Self::Fetch {
                request,
                key: key.try_into()?,
            },
        })
    }
}

fn all<W, T: TryFrom<W, Error = PeerMisbehaved>>(wire: Vec<W>) -> Result<Vec<T>, PeerMisbehaved> {
    wire.into_iter().map(T::try_from).collect()
}
