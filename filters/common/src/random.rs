//! Random bytes from the host.

use limpet_wire::token::NONCE_LEN;

/// A nonce for one token; `None` when the host has no randomness, and then no token is made.
#[must_use]
pub fn nonce() -> Option<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).ok()?;
    Some(nonce)
}
