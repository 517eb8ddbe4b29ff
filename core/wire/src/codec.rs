//! The encoding of worker table, report, reply and token claims: a version byte, then bincode 2 (standard
//! configuration: little-endian, variable-length integers).
//!
//! Input never costs more memory than [`MESSAGE_MAX`]: bincode counts the length a field claims against that limit
//! before it allocates, and longer input is refused unread. This is the only module that uses bincode, so that
//! another encoding changes one file. Sending and receiving are the callers' part; `tests/golden.rs` pins the bytes.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The version of every encoding in this crate. Any change of an encoded type changes it: bincode has no field
/// numbers, so an older decoder cannot skip what it does not know.
pub const FORMAT: u8 = 2;

/// The largest encoded message, in bytes: room for a report with several attributes of the largest size.
pub const MESSAGE_MAX: usize = 4 << 20;

type Config = Configuration<LittleEndian, Varint, Limit<MESSAGE_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<MESSAGE_MAX>();

/// Why bytes are not a message. Decoding changes no state, so the receiver can drop them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The sender uses another version of the encoding; upgrade the older side.
    #[error("format version {found} where {FORMAT} was expected")]
    Version {
        /// The first byte of the input.
        found: u8,
    },
    /// Longer than [`MESSAGE_MAX`]; the sender must split the message.
    #[error("{0} bytes where at most {MESSAGE_MAX} are read")]
    TooLong(usize),
    /// Not an encoding of the expected type; the sender is faulty.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// Bytes follow the message; the sender is faulty.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
}

/// The message is too large to encode; the caller splits it or refuses its own input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message cannot be encoded: {0}")]
pub struct EncodeError(String);

/// Encodes `message`, version byte first.
///
/// # Errors
/// When the encoding would be longer than [`MESSAGE_MAX`].
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![FORMAT];
    let body = bincode::encode_to_vec(message, CONFIG).map_err(|e| EncodeError(e.to_string()))?;
    if body.len() >= MESSAGE_MAX {
        return Err(EncodeError(format!(
            "{} bytes where at most {MESSAGE_MAX} are read",
            body.len() + 1
        )));
    }
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Decodes the one message that `bytes` hold, version byte first.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (version, body) = bytes
        .split_first()
        .ok_or_else(|| DecodeError::Malformed("empty".into()))?;
    if *version != FORMAT {
        return Err(DecodeError::Version { found: *version });
    }
    let (message, read) =
        bincode::decode_from_slice(body, CONFIG).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    match body.len() - read {
        0 => Ok(message),
        left => Err(DecodeError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::{IdleLimit, Operation, Reply, Report};
    use crate::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
    use crate::token::{Claims, TokenKey};

    fn operations() -> impl Strategy<Value = Operation> {
        let attributes = prop::collection::vec((".{0,12}", prop::collection::vec(any::<u8>(), 0..40)), 0..4);
        let idle = prop_oneof![Just(IdleLimit::Forever), any::<u64>().prop_map(IdleLimit::Millis)];
        let names = (
            ".{0,8}",
            ".{0,40}",
            prop::option::of(".{0,8}"),
            prop::collection::vec(".{0,8}", 0..3),
        );
        (
            names,
            attributes,
            prop::option::of(idle),
            any::<bool>(),
            any::<bool>(),
            any::<Option<u64>>(),
        )
            .prop_map(
                |((app, id, route, remove), set, max_inactive, touch, invalidate, began_ms)| Operation {
                    app,
                    id,
                    route,
                    touch,
                    set,
                    remove,
                    max_inactive,
                    invalidate,
                    began_ms,
                },
            )
    }

    fn workers() -> impl Strategy<Value = Worker> {
        let status = prop::sample::select(vec![
            WorkerStatus::Up,
            WorkerStatus::Draining,
            WorkerStatus::Disabled,
            WorkerStatus::Down,
            WorkerStatus::NotReady,
        ]);
        (".{0,8}", ".{0,20}", ".{0,20}", any::<u32>(), status, ".{0,8}").prop_map(
            |(route, url, addr, weight, status, node)| Worker {
                route,
                url,
                addr,
                weight,
                status,
                node,
            },
        )
    }

    fn tables() -> impl Strategy<Value = WorkerTable> {
        let key = (any::<u32>(), any::<[u8; 32]>()).prop_map(|(id, secret)| TokenKey { id, secret });
        let version = (any::<u64>(), any::<u64>()).prop_map(|(epoch, number)| TableVersion { epoch, number });
        let lists = (
            prop::collection::vec(key, 0..3),
            prop::collection::vec(workers(), 0..5),
        );
        (".{0,8}", version, lists).prop_map(|(cluster, version, (keys, workers))| WorkerTable {
            cluster,
            version,
            keys,
            workers,
        })
    }

    proptest! {
        #[test]
        fn reports_round_trip(operations in prop::collection::vec(operations(), 0..5)) {
            let report = Report { operations };
            prop_assert_eq!(decode(&encode(&report).unwrap()), Ok(report));
        }

        #[test]
        fn tables_round_trip_and_their_versions_read_back(table in tables()) {
            prop_assert_eq!(table.version.to_string().parse(), Ok(table.version));
            prop_assert_eq!(decode(&encode(&table).unwrap()), Ok(table));
        }

        #[test]
        fn replies_round_trip(copies in any::<u32>(), refused in prop::collection::vec((any::<u32>(), ".{0,20}"), 0..4)) {
            let reply = Reply { copies, refused };
            prop_assert_eq!(decode(&encode(&reply).unwrap()), Ok(reply));
        }

        #[test]
        fn arbitrary_bytes_are_an_error_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Report>(&bytes);
            let _ = decode::<Reply>(&bytes);
            let _ = decode::<WorkerTable>(&bytes);
            let _ = decode::<Claims>(&bytes);
            let versioned: Vec<_> = [FORMAT].into_iter().chain(bytes).collect();
            let _ = decode::<Report>(&versioned);
            let _ = decode::<WorkerTable>(&versioned);
        }

        #[test]
        fn a_truncated_message_or_one_with_trailing_bytes_is_refused(table in tables(), cut in any::<prop::sample::Index>()) {
            let mut bytes = encode(&table).unwrap();
            prop_assert!(decode::<WorkerTable>(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert_eq!(decode::<WorkerTable>(&bytes), Err(DecodeError::Trailing(1)));
        }
    }

    #[test]
    fn a_claimed_length_is_refused_before_memory_is_allocated_for_it() {
        let claim = [FORMAT, 253, 255, 255, 255, 255, 255, 255, 255, 127];
        assert!(matches!(decode::<Report>(&claim), Err(DecodeError::Malformed(_))));
        assert_eq!(decode::<Report>(&[9, 0]), Err(DecodeError::Version { found: 9 }));
        let long = vec![FORMAT; MESSAGE_MAX + 1];
        assert_eq!(
            decode::<Report>(&long),
            Err(DecodeError::TooLong(MESSAGE_MAX + 1))
        );
    }
}
