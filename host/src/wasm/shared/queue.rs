//! Queues between guests: any guest that knows `(vm_id, name)` may add and take.
//!
//! The guest that registered last gets an event when something was added. Events are best effort: one that finds the
//! thread's mailbox full is dropped, because that thread has events enough to look.

use std::collections::{HashMap, VecDeque};

use tokio::sync::mpsc::Sender;

use super::rebuild::{Rebuild, Rebuilds, Table};
use crate::wasm::abi::numbers::Status;

/// The most queues of a process; past it a registration is refused with `InternalFailure`.
pub const QUEUES_MAX: usize = 1024;
/// The most items waiting in one queue; past it an addition is refused with `InternalFailure`.
pub const ITEMS_MAX: usize = 16_384;
/// The largest item, in bytes; a larger one is refused with `InternalFailure`.
pub const ITEM_MAX: usize = 1 << 20;
/// The most events waiting for one thread; see the page.
pub const QUEUE_EVENTS_MAX: usize = 256;

/// Something was added to `queue`.
#[derive(Debug, Clone, Copy)]
pub struct QueueEvent {
    /// Which virtual machine of the thread.
    pub vm: usize,
    /// Which root context of it, by position.
    pub root: usize,
    /// The queue.
    pub queue: u32,
}

/// All queues of a process.
#[derive(Debug)]
pub struct Queues(Table<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_name: HashMap<(String, Vec<u8>), u32>,
    queues: Vec<Queue>,
    /// The number before the first queue's.
    base: u32,
}

impl Rebuild for Inner {
    const NAME: &'static str = "queues";

    fn rebuild(&mut self) {
        // Numbers go on: one that a guest still knows is no queue any more.
        let used = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        *self = Self {
            base: self.base.saturating_add(used),
            ..Self::default()
        };
    }
}

#[derive(Debug)]
struct Queue {
    items: VecDeque<Box<[u8]>>,
    consumer: Option<(Sender<QueueEvent>, QueueEvent)>,
}

impl Queues {
    /// No queues yet.
    #[must_use]
    pub fn new(rebuilds: Rebuilds) -> Self {
        Self(Table::new(rebuilds))
    }

    /// The queue `name` of `vm_id`, made if there is none; from now on `mailbox` gets its events.
    ///
    /// # Errors
    /// `InternalFailure` when there are [`QUEUES_MAX`].
    pub fn register(
        &self,
        vm_id: &str,
        name: &[u8],
        mailbox: Option<(Sender<QueueEvent>, usize, usize)>,
    ) -> Result<u32, Status> {
        let mut inner = self.0.lock();
        let key = (vm_id.to_owned(), name.to_vec());
        let known = inner.by_name.get(&key).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let after = u32::try_from(inner.queues.len() + 1).ok();
                let id = after
                    .and_then(|after| inner.base.checked_add(after))
                    .ok_or(Status::InternalFailure)?;
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
            queue.consumer = Some((sender, QueueEvent { vm, root, queue: id }));
        }
        Ok(id)
    }

    /// The queue `name` of `vm_id`.
    #[must_use]
    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let inner = self.0.lock();
        inner.by_name.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Adds `item` to queue `id`.
    ///
    /// # Errors
    /// `NotFound` for an unknown queue, `InternalFailure` past a limit.
    pub fn add(&self, id: u32, item: &[u8]) -> Result<(), Status> {
        let mut inner = self.0.lock();
        let queue = inner.queue(id)?;
        if queue.items.len() >= ITEMS_MAX || item.len() > ITEM_MAX {
            return Err(Status::InternalFailure);
        }
        queue.items.push_back(item.into());
        if let Some((mailbox, event)) = &queue.consumer {
            // Full means events are waiting already; closed means the thread is gone.
            let _ = mailbox.try_send(*event);
        }
        Ok(())
    }

    /// Takes the oldest item of queue `id`.
    ///
    /// # Errors
    /// `NotFound` for an unknown queue, `Empty` for an empty one.
    pub fn take(&self, id: u32) -> Result<Box<[u8]>, Status> {
        let mut inner = self.0.lock();
        inner.queue(id)?.items.pop_front().ok_or(Status::Empty)
    }
}

impl Inner {
    fn queue(&mut self, id: u32) -> Result<&mut Queue, Status> {
        let after = id.checked_sub(self.base).and_then(|after| after.checked_sub(1));
        let index = after.ok_or(Status::NotFound)?;
        self.queues.get_mut(index as usize).ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_the_last_registrant_is_told() {
        let queues = Queues::new(Rebuilds::default());
        let (first, mut first_events) = tokio::sync::mpsc::channel(4);
        let (second, mut second_events) = tokio::sync::mpsc::channel(4);
        let id = queues.register("vm", b"q", Some((first, 0, 0))).unwrap();
        assert_eq!(queues.register("vm", b"q", Some((second, 1, 2))), Ok(id));
        assert_eq!(queues.resolve("vm", b"q"), Some(id));
        assert_eq!(queues.resolve("other", b"q"), None);
        queues.add(id, b"1").unwrap();
        queues.add(id, b"2").unwrap();
        assert!(first_events.try_recv().is_err());
        assert_eq!(second_events.try_recv().unwrap().vm, 1);
        assert_eq!(&*queues.take(id).unwrap(), b"1");
        assert_eq!(&*queues.take(id).unwrap(), b"2");
        assert_eq!(queues.take(id).unwrap_err(), Status::Empty);
        assert_eq!(queues.add(99, b"").unwrap_err(), Status::NotFound);
    }

    #[test]
    fn a_panic_under_the_lock_leaves_no_queue_and_no_old_number() {
        let rebuilds = Rebuilds::default();
        let queues = Queues::new(rebuilds.clone());
        let old = queues.register("vm", b"q", None).unwrap();
        queues.add(old, b"1").unwrap();
        queues.0.poison(|inner| {
            inner.by_name.insert(("vm".into(), b"half".to_vec()), 2);
        });
        assert_eq!(queues.resolve("vm", b"half"), None);
        let new = queues.register("vm", b"other", None).unwrap();
        assert_ne!(new, old);
        assert_eq!(queues.add(old, b"2").unwrap_err(), Status::NotFound);
        assert_eq!(queues.take(new).unwrap_err(), Status::Empty);
        assert_eq!(rebuilds.count(), 1);
    }
}
