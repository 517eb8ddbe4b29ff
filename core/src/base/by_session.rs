//! A hash map by session that never moves all of its entries at once.
//!
//! A hash table that grows moves every entry, and with a million of them a caller waits for a tenth of a second. This one
//! is made of [`PARTS`] tables, which grow one at a time. It uses the hash that a key holds. Once it is empty, it gives the
//! memory of what was more than [`SPARE`] entries back.
//!
//! The session table itself has buckets of its own ([`crate::store::memory`]).

use std::collections::HashMap; // looked up only, so its order is never seen
use std::hash::{BuildHasherDefault, Hasher};

use crate::base::id::SessionKey;

/// How many tables one map has, once something is in it.
const PARTS: usize = 64;
/// How many entries one map may have held without its memory being given back once it is empty.
const SPARE: usize = 4096;

type Part<T> = HashMap<SessionKey, T, BuildHasherDefault<OwnHash>>;

/// See the module page.
#[derive(Debug)]
pub struct BySession<T> {
    /// [`PARTS`] tables, or none where nothing was ever kept.
    parts: Vec<Part<T>>,
    entries: usize,
    /// The most entries since it was last without memory.
    most: usize,
}

impl<T> Default for BySession<T> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            entries: 0,
            most: 0,
        }
    }
}

impl<T> BySession<T> {
    fn part(&self, key: &SessionKey) -> Option<&Part<T>> {
        self.parts.get(key.bucket() % PARTS)
    }

    fn part_mut(&mut self, key: &SessionKey) -> Option<&mut Part<T>> {
        self.parts.get_mut(key.bucket() % PARTS)
    }

    /// Whether `key` is in it.
    #[must_use]
    pub fn contains_key(&self, key: &SessionKey) -> bool {
        self.get(key).is_some()
    }

    /// What is kept of `key`.
    #[must_use]
    pub fn get(&self, key: &SessionKey) -> Option<&T> {
        self.part(key)?.get(key)
    }

    /// What is kept of `key`, to be changed.
    pub fn get_mut(&mut self, key: &SessionKey) -> Option<&mut T> {
        self.part_mut(key)?.get_mut(key)
    }

    /// Keeps `value` of `key` in place of what was kept before, which it returns.
    pub fn insert(&mut self, key: SessionKey, value: T) -> Option<T> {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Part::default);
        }
        let before = self.part_mut(&key)?.insert(key, value);
        if before.is_none() {
            self.entries += 1;
            self.most = self.most.max(self.entries);
        }
        before
    }

    /// Keeps nothing of `key` any more; returns what was kept.
    pub fn remove(&mut self, key: &SessionKey) -> Option<T> {
        let before = self.part_mut(key)?.remove(key)?;
        self.entries -= 1;
        if self.entries == 0 && self.most > SPARE {
            *self = Self::default();
        }
        Some(before)
    }
}

/// The hash of a key, which the key holds already.
#[derive(Debug, Default)]
pub struct OwnHash(u64);

impl Hasher for OwnHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Keys write one number; anything else is hashed as well, if poorly.
        self.0 = bytes
            .iter()
            .fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_its_own_entry() {
        let key = |n: usize| SessionKey::parse("shop", &format!("{n:04}")).unwrap();
        let mut map = BySession::default();
        assert!(map.get(&key(1)).is_none() && map.remove(&key(1)).is_none());
        for n in 0..1000 {
            assert_eq!(map.insert(key(n), n), None);
        }
        assert_eq!(map.insert(key(7), 70), Some(7));
        *map.get_mut(&key(8)).unwrap() += 1;
        assert_eq!((map.get(&key(7)), map.get(&key(8))), (Some(&70), Some(&9)));
        assert_eq!(map.remove(&key(7)), Some(70));
        assert!(!map.contains_key(&key(7)) && map.contains_key(&key(9)));
        assert!(map.parts.iter().all(|part| !part.is_empty()), "keys spread");
    }

    #[test]
    fn an_empty_map_that_was_large_has_no_memory() {
        let key = |n: usize| SessionKey::parse("shop", &format!("{n:04}")).unwrap();
        let mut map = BySession::default();
        for (entries, parts) in [(SPARE, PARTS), (SPARE + 1, 0)] {
            (0..entries).for_each(|n| assert_eq!(map.insert(key(n), n), None));
            (0..entries).for_each(|n| assert_eq!(map.remove(&key(n)), Some(n)));
            assert_eq!(map.parts.len(), parts, "after {entries} entries");
        }
    }
}
