//! Random bytes from the host: the nonces of tokens. Anything that must be reproducible takes its numbers elsewhere.

use limpet_wire::token::NONCE_LEN;

/// A nonce for one token; `None` where the host has no randomness, and then no token can be sealed.
#[must_use]
pub fn nonce() -> Option<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    Some(nonce)
}
