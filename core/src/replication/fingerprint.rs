//! The fingerprint of a change: 128 bits by which people compare changes that logs and files of several nodes speak of.
//!
//! It is FNV-1a over the change as it is encoded for other nodes. Nothing is decided by it.

use std::fmt;

use super::records;
use crate::base::id::SessionKey;
use crate::session::Record;

/// See the module page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// That of a change to one session.
    #[must_use]
    pub fn of_change(key: &SessionKey, delta: &Record) -> Self {
        let mut bytes = Vec::new();
        records::write([(key, delta)].into_iter(), &mut bytes);
        Self::of_bytes(&bytes)
    }

    /// That of any bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let hash = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        Self(bytes.iter().fold(OFFSET, hash))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Stamp;

    #[test]
    fn equal_changes_have_one_fingerprint_and_others_another() {
        let (a, b) = (SessionKey::new("shop", "A"), SessionKey::new("shop", "B"));
        let delta = Record::tombstone(Stamp { time: 5, node: 1 });
        let print = Fingerprint::of_change(&a, &delta);
        assert_eq!(print, Fingerprint::of_change(&a, &delta.clone()));
        assert_ne!(print, Fingerprint::of_change(&b, &delta));
        let later = Record::tombstone(Stamp { time: 6, node: 1 });
        assert_ne!(print, Fingerprint::of_change(&a, &later));
        assert_eq!(print.to_string().len(), 32);
    }
}
