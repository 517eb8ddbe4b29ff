//! Key-value data shared by every guest with one `vm_id`, with compare-and-swap.
//!
//! A number of 0 always writes; another one writes only where the stored number is the same or the key is new.
//! Numbers come from one counter, so a key that was written again never has an old one. Guests cannot remove a key;
//! an empty value takes its place.

use std::collections::HashMap;
use std::sync::Arc;

use super::rebuild::{Rebuild, Rebuilds, Table};
use crate::wasm::abi::numbers::Status;

/// The most keys of one `vm_id`; past it a new one is refused with `InternalFailure`.
pub const KEYS_MAX: usize = 65_536;
/// The longest value, in bytes; a longer one is refused with `InternalFailure`.
pub const VALUE_MAX: usize = 32 << 20;

/// The data of one `vm_id`.
#[derive(Debug)]
pub struct Space(Table<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Box<[u8]>, Entry>,
    /// The last number that was given.
    last: u32,
}

impl Rebuild for Entries {
    const NAME: &'static str = "shared data";

    fn rebuild(&mut self) {
        // The counter goes on: a number that a guest still knows matches no new entry.
        self.by_key = HashMap::new();
    }
}

#[derive(Debug)]
struct Entry {
    value: Arc<[u8]>,
    number: u32,
}

impl Space {
    /// No data yet.
    #[must_use]
    pub fn new(rebuilds: Rebuilds) -> Self {
        Self(Table::new(rebuilds))
    }

    /// The value of `key` and its number.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<(Arc<[u8]>, u32)> {
        let table = self.0.lock();
        table
            .by_key
            .get(key)
            .map(|entry| (Arc::clone(&entry.value), entry.number))
    }

    /// Stores `value` under `key` if `expected` allows it.
    ///
    /// # Errors
    /// `CasMismatch` when the key was written since, `InternalFailure` past a limit.
    pub fn set(&self, key: &[u8], value: &[u8], expected: u32) -> Result<(), Status> {
        if value.len() > VALUE_MAX {
            return Err(Status::InternalFailure);
        }
        let value: Arc<[u8]> = value.into();
        let mut table = self.0.lock();
        let number = match table.last.wrapping_add(1) {
            0 => 1,
            number => number,
        };
        let full = table.by_key.len() >= KEYS_MAX;
        match table.by_key.get_mut(key) {
            Some(entry) if expected != 0 && entry.number != expected => return Err(Status::CasMismatch),
            Some(entry) => *entry = Entry { value, number },
            None if full => return Err(Status::InternalFailure),
            None => {
                table.by_key.insert(key.into(), Entry { value, number });
            }
        }
        table.last = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_and_swap() {
        let space = Space::new(Rebuilds::default());
        assert_eq!(space.set(b"k", b"1", 77), Ok(()), "a new key takes any number");
        let (_, first) = space.get(b"k").unwrap();
        assert_ne!(first, 0);
        assert_eq!(space.set(b"k", b"2", first + 1), Err(Status::CasMismatch));
        assert_eq!(space.set(b"k", b"2", first), Ok(()));
        assert_eq!(
            space.set(b"k", b"3", first),
            Err(Status::CasMismatch),
            "an old number is old for ever"
        );
        assert_eq!(space.set(b"k", b"4", 0), Ok(()));
        assert_eq!(&*space.get(b"k").unwrap().0, b"4");
    }

    #[test]
    fn a_panic_under_the_lock_empties_the_space_and_no_old_number_matches() {
        let rebuilds = Rebuilds::default();
        let space = Space::new(rebuilds.clone());
        space.set(b"k", b"1", 0).unwrap();
        let (_, old) = space.get(b"k").unwrap();
        space.0.poison(|entries| {
            entries.by_key.insert(
                b"half"[..].into(),
                Entry {
                    value: b"".as_slice().into(),
                    number: 7,
                },
            );
        });
        assert!(space.get(b"half").is_none() && space.get(b"k").is_none());
        assert_eq!(rebuilds.count(), 1);
        space.set(b"k", b"2", 0).unwrap();
        assert_eq!(space.set(b"k", b"3", old), Err(Status::CasMismatch));
        assert_eq!(rebuilds.count(), 1, "once");
    }
}
