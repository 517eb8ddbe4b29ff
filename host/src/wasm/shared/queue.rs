//! Queues between guests: anybody who knows `(vm_id, name)` may add and take.
//!
//! Whoever registered last is told when something was added; telling is a hint, so one that finds the thread's
//! mailbox full is dropped: that thread has hints enough to look.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc::Sender;

use crate::wasm::abi::numbers::Status;

/// The most queues of a process; past it a registration is refused with `InternalFailure`.
pub const QUEUES_MAX: usize = 1024;
/// The most items waiting in one queue; past it an addition is refused with `InternalFailure`.
pub const ITEMS_MAX: usize = 16_384;
/// The largest item, in bytes; a larger one is refused with `InternalFailure`.
pub const ITEM_MAX: usize = 1 << 20;
/// The most hints waiting for one thread; see the page.
pub const HINTS_MAX: usize = 256;

/// Something was added to `queue`.
#[derive(Debug, Clone, Copy)]
pub struct Hint {
    /// Which virtual machine of the thread.
    pub vm: usize,
    /// Which root context of it, by position.
    pub root: usize,
    /// The queue.
    pub queue: u32,
}

/// All queues of a process.
#[derive(Debug, Default)]
pub struct Queues(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_name: HashMap<(String, Vec<u8>), u32>,
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Box<[u8]>>,
    consumer: Option<(Sender<Hint>, Hint)>,
}

impl Queues {
    /// The queue `name` of `vm_id`, made if there is none; from now on `mailbox` gets its hints.
    ///
    /// # Errors
    /// `InternalFailure` when there are [`QUEUES_MAX`].
    pub fn register(
        &self,
        vm_id: &str,
        name: &[u8],
        mailbox: Option<(Sender<Hint>, usize, usize)>,
    ) -> Result<u32, Status> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (vm_id.to_owned(), name.to_vec());
        let known = inner.by_name.get(&key).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let id = u32::try_from(inner.queues.len() + 1).map_err(|_| Status::InternalFailure)?;
                if inner.queues.len() >= QUEUES_MAX {
                    return Err(Status::InternalFailure);
                }
                inner.queues.push(Queue {
                    items: VecDeque::new(),
                    consumer: None,
                });
                inner.by_name.insert(key, id);
                id
            }
        };
        if let (Some((sender, vm, root)), Ok(queue)) = (mailbox, inner.queue(id)) {
            queue.consumer = Some((sender, Hint { vm, root, queue: id }));
        }
        Ok(id)
    }

    /// The queue `name` of `vm_id`.
    #[must_use]
    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.by_name.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Adds `item` to queue `id`.
    ///
    /// # Errors
    /// `NotFound` for an unknown queue, `InternalFailure` past a limit.
    pub fn add(&self, id: u32, item: &[u8]) -> Result<(), Status> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = inner.queue(id)?;
        if queue.items.len() >= ITEMS_MAX || item.len() > ITEM_MAX {
            return Err(Status::InternalFailure);
        }
        queue.items.push_back(item.into());
        if let Some((mailbox, hint)) = &queue.consumer {
            // Full means hints are waiting already; closed means the thread is gone.
            let _ = mailbox.try_send(*hint);
        }
        Ok(())
    }

    /// Takes the oldest item of queue `id`.
    ///
    /// # Errors
    /// `NotFound` for an unknown queue, `Empty` for an empty one.
    pub fn take(&self, id: u32) -> Result<Box<[u8]>, Status> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.queue(id)?.items.pop_front().ok_or(Status::Empty)
    }
}

impl Inner {
    fn queue(&mut self, id: u32) -> Result<&mut Queue, Status> {
        let index = (id as usize).checked_sub(1).ok_or(Status::NotFound)?;
        self.queues.get_mut(index).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_the_last_registrant_is_told() {
        let queues = Queues::default();
        let (first, mut first_hints) = tokio::sync::mpsc::channel(4);
        let (second, mut second_hints) = tokio::sync::mpsc::channel(4);
        let id = queues.register("vm", b"q", Some((first, 0, 0))).unwrap();
        assert_eq!(queues.register("vm", b"q", Some((second, 1, 2))), Ok(id));
        assert_eq!(queues.resolve("vm", b"q"), Some(id));
        assert_eq!(queues.resolve("other", b"q"), None);
        queues.add(id, b"1").unwrap();
        queues.add(id, b"2").unwrap();
        assert!(first_hints.try_recv().is_err());
        assert_eq!(second_hints.try_recv().unwrap().vm, 1);
        assert_eq!(&*queues.take(id).unwrap(), b"1");
        assert_eq!(&*queues.take(id).unwrap(), b"2");
        assert_eq!(queues.take(id).unwrap_err(), Status::Empty);
        assert_eq!(queues.add(99, b"").unwrap_err(), Status::NotFound);
    }
}
