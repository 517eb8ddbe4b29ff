//! Key-value data shared by every guest with one `vm_id`, with compare-and-swap.
//!
//! A number of 0 always writes; another one writes only where the stored number is the same or the key is new.
//! Numbers come from one counter, so a key that was rewritten never has an old one. Guests cannot remove a key; an
//! empty value takes its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wasm::abi::numbers::Status;

/// The most keys of one `vm_id`; past it a new one is refused with `InternalFailure`.
pub const KEYS_MAX: usize = 65_536;
/// The longest value, in bytes; a longer one is refused with `InternalFailure`.
pub const VALUE_MAX: usize = 32 << 20;

/// The spaces of all `vm_id`s.
#[derive(Debug, Default)]
pub struct Spaces(Mutex<HashMap<String, Arc<Space>>>);

impl Spaces {
    /// The space of `vm_id`.
    #[must_use]
    pub fn of(&self, vm_id: &str) -> Arc<Space> {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(spaces.entry(vm_id.to_owned()).or_default())
    }
}

/// The data of one `vm_id`.
#[derive(Debug, Default)]
pub struct Space(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Box<[u8]>, Entry>,
    last: u32,
}

#[derive(Debug)]
struct Entry {
    value: Arc<[u8]>,
    number: u32,
}

impl Space {
    /// The value of `key` and its number.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<(Arc<[u8]>, u32)> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table
            .entries
            .get(key)
            .map(|entry| (Arc::clone(&entry.value), entry.number))
    }

    /// Stores `value` under `key` if `expected` allows it.
    ///
    /// # Errors
    /// `CasMismatch` when somebody wrote since, `InternalFailure` past a limit.
    pub fn set(&self, key: &[u8], value: &[u8], expected: u32) -> Result<(), Status> {
        if value.len() > VALUE_MAX {
            return Err(Status::InternalFailure);
        }
        let value: Arc<[u8]> = value.into();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match table.last.wrapping_add(1) {
            0 => 1,
            number => number,
        };
        let full = table.entries.len() >= KEYS_MAX;
        match table.entries.get_mut(key) {
            Some(entry) if expected != 0 && entry.number != expected => return Err(Status::CasMismatch),
            Some(entry) => *entry = Entry { value, number },
            None if full => return Err(Status::InternalFailure),
            None => {
                table.entries.insert(key.into(), Entry { value, number });
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
        let spaces = Spaces::default();
        let space = spaces.of("a");
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
        assert!(
            spaces.of("b").get(b"k").is_none(),
            "another vm_id has its own data"
        );
    }
}
