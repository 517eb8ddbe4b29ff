//! The token: a client's affinity, authenticated and encrypted, kept in a cookie of the client.
//!
//! ```text
//! text  = base64url, unpadded ( version 1 | key id 4 LE | nonce 24 | sealed claims | tag 16 )
//! claims sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03); associated data = version, key id, cluster
//! ```
//! A 24-byte nonce is long enough to be drawn at random for every token. The cluster's name is part of the
//! associated data, so a token of another cluster does not open even under the same key. Whether the stamps are
//! too old, which claims count, and the cookie's attributes are decided by the router.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bincode::{Decode, Encode};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::codec;

/// The longest token text that is read, in bytes; a longer cookie value is refused as malformed.
pub const TOKEN_MAX: usize = 1024;
/// The most fallback routes a token carries.
pub const FALLBACKS_MAX: usize = 3;
/// The length of a nonce, in bytes.
pub const NONCE_LEN: usize = 24;
const HEAD_LEN: usize = 5;
const VERSION: u8 = 1;

/// A key of the token cookie. All cores of a cluster share the same keys.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenKey {
    /// The key id that a token carries in the clear.
    pub id: u32,
    /// The key of XChaCha20-Poly1305.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for TokenKey {
    /// Prints the id, never the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({:08x})", self.id)
    }
}

/// The content of a token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claims {
    /// The app the binding is for.
    pub app: String,
    /// The route of the bound worker.
    pub route: String,
    /// The routes to go to when that worker is unavailable, most preferred first; at most [`FALLBACKS_MAX`].
    pub fallbacks: Vec<String>,
    /// When the binding began, in seconds since 1970.
    pub first_seen: u64,
    /// When the token was made, in seconds since 1970.
    pub last_seen: u64,
}

/// Why a text is not a token of this cluster. The router ignores it and gives the client a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the layout of a token.
    #[error("not a token")]
    Malformed,
    /// Sealed with a key this cluster does not have, or no longer has.
    #[error("sealed with an unknown key")]
    UnknownKey,
    /// Its tag does not match: altered, forged, or sealed for another cluster.
    #[error("not authentic")]
    Forged,
}

/// Seals `claims` for `cluster`. `nonce` must be drawn at random for every call.
///
/// # Errors
/// When the claims are too large to be a token.
pub fn seal(
    claims: &Claims,
    cluster: &str,
    key: &TokenKey,
    nonce: [u8; NONCE_LEN],
) -> Result<String, TokenError> {
    let plain = codec::encode(claims).map_err(|_| TokenError::Malformed)?;
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&key.id.to_le_bytes());
    let aad = associated_data(&bytes, cluster);
    let sealed = XChaCha20Poly1305::new(&key.secret.into())
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: &plain,
                aad: &aad,
            },
        )
        .map_err(|_| TokenError::Malformed)?;
    bytes.extend_from_slice(&nonce);
    bytes.extend_from_slice(&sealed);
    let text = URL_SAFE_NO_PAD.encode(bytes);
    if text.len() > TOKEN_MAX {
        Err(TokenError::Malformed)
    } else {
        Ok(text)
    }
}

/// Opens `text` with the one of `keys` it names.
///
/// # Errors
/// See [`TokenError`]; no claim of a token that does not authenticate is ever returned.
pub fn open(text: &[u8], cluster: &str, keys: &[TokenKey]) -> Result<Claims, TokenError> {
    if text.len() > TOKEN_MAX {
        return Err(TokenError::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    let (head, rest) = bytes.split_at_checked(HEAD_LEN).ok_or(TokenError::Malformed)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(TokenError::Malformed)?;
    let [VERSION, id @ ..] = head else {
        return Err(TokenError::Malformed);
    };
    let id = u32::from_le_bytes(id.try_into().map_err(|_| TokenError::Malformed)?);
    let key = keys
        .iter()
        .find(|key| key.id == id)
        .ok_or(TokenError::UnknownKey)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().map_err(|_| TokenError::Malformed)?;
    let plain = XChaCha20Poly1305::new(&key.secret.into())
        .decrypt(
            &XNonce::from(nonce),
            Payload {
                msg: sealed,
                aad: &associated_data(head, cluster),
            },
        )
        .map_err(|_| TokenError::Forged)?;
    codec::decode(&plain).map_err(|_| TokenError::Malformed)
}

fn associated_data(head: &[u8], cluster: &str) -> Vec<u8> {
    [head, cluster.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> TokenKey {
        TokenKey {
            id,
            secret: [id as u8; 32],
        }
    }

    fn claims() -> Claims {
        Claims {
            app: "default".into(),
            route: "node1".into(),
            fallbacks: vec!["node2".into(), "node3".into()],
            first_seen: 1_700_000_000,
            last_seen: 1_700_000_060,
        }
    }

    #[test]
    fn opens_with_any_known_key() {
        let text = seal(&claims(), "shop", &key(2), [7; NONCE_LEN]).unwrap();
        assert_eq!(open(text.as_bytes(), "shop", &[key(1), key(2)]), Ok(claims()));
    }

    #[test]
    fn a_token_with_any_byte_changed_does_not_open() {
        let text = seal(&claims(), "shop", &key(1), [7; NONCE_LEN]).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let text = URL_SAFE_NO_PAD.encode(changed);
            assert!(open(text.as_bytes(), "shop", &[key(1)]).is_err(), "byte {at}");
        }
    }

    #[test]
    fn another_cluster_or_key_does_not_open_it() {
        let text = seal(&claims(), "shop", &key(1), [7; NONCE_LEN]).unwrap();
        assert_eq!(open(text.as_bytes(), "bank", &[key(1)]), Err(TokenError::Forged));
        assert_eq!(
            open(text.as_bytes(), "shop", &[key(2)]),
            Err(TokenError::UnknownKey)
        );
        for garbage in ["", "a", "AAAA", "\u{fffd}", &"A".repeat(TOKEN_MAX + 1)] {
            assert!(
                open(garbage.as_bytes(), "shop", &[key(1)]).is_err(),
                "{garbage:.20}"
            );
        }
    }

    #[test]
    fn a_key_never_prints_its_secret() {
        assert_eq!(format!("{:?}", key(0xab)), "TokenKey(000000ab)");
    }
}
