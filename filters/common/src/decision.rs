//! The routing decision: what the router hands the binder about a request, in a property of the stream.
//!
//! ```text
//! version 1 | flags | [id length u16 LE | id | [route length u16 LE | route]]
//! ```
//! A hand-written encoding, because both filters are of one build and no other program reads it. A binder that finds
//! no decision has no router in front of it and reads the request itself. How the decision is made is the router's.

use crate::session::{Session, Source};

/// The property the decision travels in: one segment, kept by Envoy as the filter state `wasm.limpet_decision`.
pub const PROPERTY: &[u8] = b"limpet_decision";

const VERSION: u8 = 1;
const PRIMARY: u8 = 1;
const MOVED: u8 = 2;
const SESSION: u8 = 4;
const ROUTE: u8 = 8;
const FROM_PATH: u8 = 16;

/// The part of the router's decision that the binder needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// The session the request carries.
    pub session: Option<Session>,
    /// The session's bound worker is known and is the first destination: `limpet-primary: ?1`.
    pub primary: bool,
    /// The session's id names another route than the first destination.
    pub moved: bool,
}

impl Decision {
    /// The decision as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        for (set, flag) in [(self.primary, PRIMARY), (self.moved, MOVED)] {
            flags |= if set { flag } else { 0 };
        }
        let mut bytes = Vec::with_capacity(64);
        bytes.extend([VERSION, flags]);
        if let Some(session) = &self.session {
            flags |= SESSION;
            push_text(&mut bytes, &session.id);
            if session.source == Source::Path {
                flags |= FROM_PATH;
            }
            if let Some(route) = &session.route {
                flags |= ROUTE;
                push_text(&mut bytes, route);
            }
        }
        if let Some(byte) = bytes.get_mut(1) {
            *byte = flags;
        }
        bytes
    }

    /// Reads bytes back; `None` for anything [`Self::encode`] did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, flags, rest @ ..] = bytes else {
            return None;
        };
        let has = |flag| flags & flag != 0;
        let mut decision = Self {
            session: None,
            primary: has(PRIMARY),
            moved: has(MOVED),
        };
        let mut rest = rest;
        if has(SESSION) {
            let id = take_text(&mut rest)?;
            let route = if has(ROUTE) {
                Some(take_text(&mut rest)?)
            } else {
                None
            };
            let source = if has(FROM_PATH) {
                Source::Path
            } else {
                Source::Cookie
            };
            decision.session = Some(Session { id, route, source });
        }
        rest.is_empty().then_some(decision)
    }
}

/// Ids and routes are at most `ID_MAX` bytes long, so the length fits; if it did not, the reader would refuse it.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend(len.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_page() {
        let decision = Decision {
            session: Some(Session {
                id: "abc".into(),
                route: Some("n1".into()),
                source: Source::Path,
            }),
            primary: true,
            moved: true,
        };
        assert_eq!(decision.encode(), b"\x01\x1f\x03\0abc\x02\0n1");
        assert_eq!(Decision::default().encode(), b"\x01\0");
    }

    proptest! {
        #[test]
        fn reads_what_was_written(
            session in proptest::option::of(("[!-~]{1,256}", proptest::option::of("[!-~]{1,128}"), any::<bool>())),
            primary: bool,
            moved: bool,
        ) {
            let session = session.map(|(id, route, cookie)| Session {
                id,
                route,
                source: if cookie { Source::Cookie } else { Source::Path },
            });
            let decision = Decision { session, primary, moved };
            prop_assert_eq!(Decision::decode(&decision.encode()), Some(decision));
        }

        #[test]
        fn survives_any_bytes(bytes: Vec<u8>, flags: u8) {
            let _ = Decision::decode(&bytes);
            let _ = Decision::decode(&[&[VERSION, flags], bytes.as_slice()].concat());
        }
    }
}
