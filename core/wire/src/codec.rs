//! How table and report become bytes: a version byte, then bincode 2 (standard configuration: little-endian,
//! variable-length integers). The only module that names bincode, so that another encoding is one file away.
//!
//! Bytes from outside never cost more memory than their stated limit: bincode counts what a length claims against
//! the limit before it allocates, and input longer than the limit is refused unread.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// The version of every encoding in this crate. A change of any type here changes it.
pub const FORMAT: u8 = 1;

/// The largest encoded message, in bytes: one report with a full batch of large attributes.
pub const MESSAGE_MAX: usize = 4 << 20;

type Config = Configuration<LittleEndian, Varint, Limit<MESSAGE_MAX>>;
const CONFIG: Config = bincode::config::standard().with_limit::<MESSAGE_MAX>();

/// Why bytes are not a message. Nothing was changed by reading them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The sender speaks another version; upgrade the older side.
    #[error("format version {found} where {FORMAT} was expected")]
    Version {
        /// The first byte of the input.
        found: u8,
    },
    /// Longer than [`MESSAGE_MAX`]; split it.
    #[error("{0} bytes where at most {MESSAGE_MAX} are read")]
    TooLong(usize),
    /// Not an encoding of the expected type.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A message, and then more.
    #[error("{0} bytes after the end of the message")]
    Trailing(usize),
}

/// A message too large to encode: the caller splits it or refuses its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message cannot be encoded: {0}")]
pub struct EncodeError(String);

/// Encodes `message`, version byte first.
///
/// # Errors
/// When the encoding would pass [`MESSAGE_MAX`].
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

/// Decodes a message that fills `bytes` exactly.
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
