//! The session table in memory: [`BUCKETS`] buckets, by a hash of the key that is the same on every node.
//!
//! Each bucket has the digest of its live sessions, so two nodes find out what differs by comparing [`BUCKETS`]
//! numbers, and a state transfer reads buckets in order and can go on at any key with any donor.
//!
//! What is stored, and for how long, belongs to [`crate::engine`].

use std::collections::HashSet; // looked up only, so its order is never seen
use std::sync::Arc;

use hashbrown::{HashTable, hash_table};
use limpet_wire::report::IdleLimit;

use crate::base::id::{BUCKETS, SessionKey};
use crate::session::Record;

/// How many names of attributes and routes are kept once for all sessions.
const NAMES_MAX: usize = 4096;

/// A session at rest.
#[derive(Debug)]
struct Entry {
    key: SessionKey,
    record: Record,
}

/// A part of the table.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Boxed, because a hash table has room for more than it holds.
    entries: HashTable<Box<Entry>>,
    digest: u64,
    alive: usize,
    bytes: usize,
}

impl Bucket {
    /// The exclusive or of the digests of its live sessions.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// How many records it holds, tombstones included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are sessions.
    #[must_use]
    pub const fn alive(&self) -> usize {
        self.alive
    }

    /// About how many bytes they cost.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its records, in an order that differs from process to process.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, &Record)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.record))
    }

    fn get(&self, key: &SessionKey) -> Option<&Record> {
        let entry = self.entries.find(key.own_hash(), |entry| entry.key == *key)?;
        Some(&entry.record)
    }

    fn get_mut(&mut self, key: &SessionKey) -> Option<&mut Record> {
        let entry = self.entries.find_mut(key.own_hash(), |entry| entry.key == *key)?;
        Some(&mut entry.record)
    }

    /// The record of `key`, created if there is none; returns whether it was.
    fn get_or_make(&mut self, key: &SessionKey) -> (bool, &mut Record) {
        let position = self.entries.entry(
            key.own_hash(),
            |entry| entry.key == *key,
            |entry| entry.key.own_hash(),
        );
        match position {
            hash_table::Entry::Occupied(known) => (false, &mut known.into_mut().record),
            hash_table::Entry::Vacant(free) => {
                let entry = Entry {
                    key: key.clone(),
                    record: Record::default(),
                };
                (true, &mut free.insert(Box::new(entry)).into_mut().record)
            }
        }
    }

    fn remove_if(&mut self, key: &SessionKey, wanted: impl FnOnce(&Record) -> bool) -> Option<Record> {
        let found = self.entries.find_entry(key.own_hash(), |entry| entry.key == *key);
        let found = found.ok().filter(|found| wanted(&found.get().record))?;
        Some(found.remove().0.record)
    }

    /// Its records in the order of their keys, after `after`.
    #[must_use]
    pub fn ordered(&self, after: Option<&SessionKey>) -> Vec<(&SessionKey, &Record)> {
        let mut records: Vec<_> = self
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| *key > after))
            .collect();
        records.sort_unstable_by_key(|(key, _)| *key);
        records
    }
}

/// What a change did to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Anything at all.
    pub changed: bool,
    /// There was no record before, of any kind.
    pub new: bool,
    /// There was a session before.
    pub was_alive: bool,
    /// There is one now.
    pub is_alive: bool,
    /// When the session ended if nobody used it, before and after, in milliseconds since 1970; `None` when it did not.
    pub expiry: (Option<u64>, Option<u64>),
}

/// The table.
#[derive(Debug)]
pub struct Memory {
    buckets: Vec<Bucket>,
    /// Names of attributes and routes, each allocated once for all sessions. Never iterated, so its order reaches no
    /// output.
    names: HashSet<Arc<str>>,
    alive: usize,
    records: usize,
    bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            names: HashSet::new(),
            alive: 0,
            records: 0,
            bytes: 0,
        }
    }
}

/// The allocation of `name` that sessions share. Past [`NAMES_MAX`] names each session has its own.
fn shared(names: &mut HashSet<Arc<str>>, name: &Arc<str>) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    if names.len() < NAMES_MAX {
        names.insert(name.clone());
    }
    name.clone()
}

impl Memory {
    /// The record of `key`, which may be a tombstone.
    #[must_use]
    pub fn get(&self, key: &SessionKey) -> Option<&Record> {
        self.buckets.get(key.bucket())?.get(key)
    }

    /// Loads the records of `keys` into the processor's caches. Lookups in a row wait for memory together; changes one
    /// after the other wait each for itself.
    pub fn prefetch<'a>(&self, keys: impl Iterator<Item = &'a SessionKey>) {
        let alive = keys.filter(|key| self.get(key).is_some_and(Record::is_alive));
        std::hint::black_box(alive.count());
    }

    /// Joins `delta` into the record of `key`. A record that has no idle lifetime yet counts as having `default`.
    pub fn join(&mut self, key: &SessionKey, delta: &Record, default: IdleLimit) -> Change {
        let Some(bucket) = self.buckets.get_mut(key.bucket()) else {
            return Change {
                changed: false,
                new: false,
                was_alive: false,
                is_alive: false,
                expiry: (None, None),
            };
        };
        let (new, record) = bucket.get_or_make(key);
        let (was_alive, before, size) = (record.is_alive(), record.digest(), record.size());
        let expired_at = record.expires_ms(default);
        let names = &mut self.names;
        let changed = record.join_sharing(delta, &mut |name| shared(names, name));
        let (is_alive, after) = (record.is_alive(), record.digest());
        let expiry = (expired_at, record.expires_ms(default));
        let (size, known) = (record.size(), if new { 0 } else { size });
        bucket.digest ^= before ^ after;
        bucket.bytes = bucket.bytes + size - known;
        bucket.alive = bucket.alive + usize::from(is_alive) - usize::from(was_alive);
        self.bytes = self.bytes + size - known;
        self.records += usize::from(new);
        self.alive = self.alive + usize::from(is_alive) - usize::from(was_alive);
        Change {
            changed,
            new,
            was_alive,
            is_alive,
            expiry,
        }
    }

    /// Removes a tombstone. A session that is alive stays.
    pub fn forget(&mut self, key: &SessionKey) {
        let Some(bucket) = self.buckets.get_mut(key.bucket()) else {
            return;
        };
        if let Some(record) = bucket.remove_if(key, |record| !record.is_alive()) {
            let size = record.size();
            bucket.bytes -= size;
            self.records -= 1;
            self.bytes -= size;
        }
    }

    /// See [`Record::drop_expired_contents`].
    pub fn drop_expired_contents(&mut self, key: &SessionKey) {
        let Some(bucket) = self.buckets.get_mut(key.bucket()) else {
            return;
        };
        if let Some(record) = bucket.get_mut(key) {
            let before = record.size();
            record.drop_expired_contents();
            let after = record.size();
            bucket.bytes = bucket.bytes + after - before;
            self.bytes = self.bytes + after - before;
        }
    }

    /// Removes a record of any kind: other nodes hold it.
    pub fn remove(&mut self, key: &SessionKey) {
        if let Some(bucket) = self.buckets.get_mut(key.bucket())
            && let Some(record) = bucket.remove_if(key, |_| true)
        {
            let (alive, size) = (usize::from(record.is_alive()), record.size());
            bucket.digest ^= record.digest();
            bucket.alive -= alive;
            bucket.bytes -= size;
            self.alive -= alive;
            self.records -= 1;
            self.bytes -= size;
        }
    }

    /// One bucket; `None` past the last.
    #[must_use]
    pub fn bucket(&self, index: usize) -> Option<&Bucket> {
        self.buckets.get(index)
    }

    /// Every bucket's digest.
    pub fn digests(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Bucket::digest)
    }

    /// How many sessions there are, tombstones not counted.
    #[must_use]
    pub const fn alive(&self) -> usize {
        self.alive
    }

    /// How many tombstones there are.
    #[must_use]
    pub const fn tombstones(&self) -> usize {
        self.records - self.alive
    }

    /// About how many bytes of memory the records take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every record, in an order that differs from process to process.
    pub fn iter(&self) -> impl Iterator<Item = (&SessionKey, &Record)> {
        self.buckets.iter().flat_map(Bucket::iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Attributes, Register, Stamp};

    fn key(id: usize) -> SessionKey {
        SessionKey::parse("default", &format!("S{id}")).unwrap()
    }

    fn write(time: u64) -> Record {
        let stamp = Stamp { time, node: 1 };
        let register = Register {
            life: stamp,
            stamp,
            value: Some((*b"v").into()),
        };
        Record {
            attributes: Attributes::from_iter([("a".into(), register)]),
            ..Record::default()
        }
    }

    #[test]
    fn digests_do_not_depend_on_the_order_of_writes() {
        let (mut one, mut two) = (Memory::default(), Memory::default());
        let writes: Vec<_> = (0..500).map(|n| (key(n % 100), write(n as u64 + 1))).collect();
        for (key, delta) in &writes {
            one.join(key, delta, IdleLimit::Forever);
        }
        for (key, delta) in writes.iter().rev() {
            two.join(key, delta, IdleLimit::Forever);
        }
        assert!(one.digests().eq(two.digests()));
        assert_eq!(one.alive(), 100);
    }

    #[test]
    fn a_table_whose_sessions_all_ended_equals_an_empty_one() {
        let mut table = Memory::default();
        for n in 0..50 {
            table.join(&key(n), &write(n as u64 + 1), IdleLimit::Forever);
            table.join(
                &key(n),
                &Record::tombstone(Stamp { time: 1000, node: 1 }),
                IdleLimit::Forever,
            );
        }
        assert_eq!((table.alive(), table.tombstones()), (0, 50));
        assert!(table.digests().all(|digest| digest == 0));
        (0..50).for_each(|n| table.forget(&key(n)));
        assert_eq!((table.bytes(), table.tombstones()), (0, 0));
    }
}
