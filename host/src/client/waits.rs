//! The waits of all exchanges of one thread, and the coarse clock they are measured with.
//!
//! An exchange waits for a worker, a filter or a body, and each wait has a limit. A timer per wait would cost every
//! request. Instead [`Waits::tick`], called twice a second, compares all waits with the clock and wakes the tasks whose
//! limit has passed. A wait belongs to its exchange and not to the connection, because one connection may carry many
//! exchanges at once. What happens past a limit is left to the caller.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

/// The waits of one thread. There is one entry per open exchange; entries are used again, so the list is as long as
/// the most exchanges that were ever open at once, which the limit on connections bounds.
#[derive(Debug, Default)]
pub struct Waits {
    /// Milliseconds since the thread started, in steps of [`Waits::tick`].
    now: Cell<u64>,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Counts the exchanges that used this entry.
    serial: u32,
    /// When the wait began or last made progress.
    since: u64,
    /// The limit in milliseconds; 0 while nobody waits.
    limit: u64,
    over: bool,
    waker: Option<Waker>,
}

/// The wait of one exchange. Dropping it gives the entry back.
#[derive(Debug)]
pub struct Wait {
    waits: Rc<Waits>,
    at: usize,
}

/// Reports progress on behalf of an exchange that may have ended meanwhile.
#[derive(Debug)]
pub struct Progress {
    waits: Rc<Waits>,
    at: usize,
    serial: u32,
}

impl Waits {
    /// The thread's clock, in milliseconds since it started.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// An entry for a new exchange.
    #[must_use]
    pub fn open(self: &Rc<Self>) -> Wait {
        let at = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut entries = self.entries.borrow_mut();
            entries.push(Entry::default());
            entries.len() - 1
        });
        Wait {
            waits: Rc::clone(self),
            at,
        }
    }

    /// Sets the clock to `now` and wakes every exchange whose wait has just passed its limit.
    pub fn tick(&self, now: u64) {
        self.now.set(now);
        for entry in self.entries.borrow_mut().iter_mut() {
            let passed = entry.limit > 0 && now.saturating_sub(entry.since) >= entry.limit;
            if passed
                && !std::mem::replace(&mut entry.over, true)
                && let Some(waker) = entry.waker.take()
            {
                waker.wake();
            }
        }
    }

    fn with<R>(&self, at: usize, f: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        self.entries.borrow_mut().get_mut(at).map(f)
    }
}

impl Wait {
    /// The exchange waits from now on, for at most `limit`; the waker comes with [`Wait::is_over`].
    pub fn begin(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        let now = self.waits.now();
        self.waits.with(self.at, |entry| {
            (entry.since, entry.limit, entry.over) = (now, limit, false);
        });
    }

    /// Begins a wait of at most `limit` unless one is on.
    pub fn begin_once(&self, limit: Duration) {
        if self.waits.with(self.at, |entry| entry.limit == 0) == Some(true) {
            self.begin(limit);
        }
    }

    /// Something moved: a wait that is on begins again.
    pub fn progress(&self) {
        let now = self.waits.now();
        self.waits.with(self.at, |entry| entry.since = now);
    }

    /// The exchange does not wait any more.
    pub fn end(&self) {
        self.waits
            .with(self.at, |entry| (entry.limit, entry.over) = (0, false));
    }

    /// Whether the wait has passed its limit. If not, `waker` is woken when it does.
    pub fn is_over(&self, waker: &Waker) -> bool {
        let over = self.waits.with(self.at, |entry| {
            if !entry.over {
                match &mut entry.waker {
                    Some(known) => known.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
            }
            entry.over
        });
        over == Some(true)
    }

    /// A handle that reports progress for this exchange from elsewhere.
    #[must_use]
    pub fn reporter(&self) -> Progress {
        Progress {
            waits: Rc::clone(&self.waits),
            at: self.at,
            serial: self.waits.with(self.at, |entry| entry.serial).unwrap_or_default(),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // The waker stays: the next exchange here is often one of the same task.
        self.waits.with(self.at, |entry| {
            entry.serial = entry.serial.wrapping_add(1);
            (entry.limit, entry.over) = (0, false);
        });
        self.waits.free.borrow_mut().push(self.at);
    }
}

impl Progress {
    /// Something moved. Nothing happens when the exchange has ended.
    pub fn report(&self) {
        let now = self.waits.now();
        self.waits.with(self.at, |entry| {
            if entry.serial == self.serial {
                entry.since = now;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::Relaxed)
    }

    #[test]
    fn a_wait_is_over_once_and_progress_begins_it_again() {
        let waits = Rc::new(Waits::default());
        let (count, waker) = waker();
        waits.tick(1_000);
        let wait = waits.open();
        waits.tick(u64::MAX);
        assert!(!wait.is_over(&waker), "nobody waits");
        waits.tick(1_000);
        wait.begin(Duration::from_secs(2));
        waits.tick(2_000);
        wait.progress();
        waits.tick(3_999);
        assert!(!wait.is_over(&waker));
        waits.tick(4_000);
        assert!(wait.is_over(&waker));
        waits.tick(4_500);
        assert_eq!(woken(&count), 1, "woken once");
        wait.end();
        assert!(!wait.is_over(&waker));
    }

    #[test]
    fn exchanges_of_one_task_wait_each_for_itself() {
        let waits = Rc::new(Waits::default());
        let ((short_count, short_waker), (long_count, long_waker)) = (waker(), waker());
        let (short, long) = (waits.open(), waits.open());
        short.begin(Duration::from_secs(1));
        long.begin(Duration::from_secs(10));
        assert!(!short.is_over(&short_waker) && !long.is_over(&long_waker));
        waits.tick(5_000);
        assert_eq!((woken(&short_count), woken(&long_count)), (1, 0));
        assert!(short.is_over(&short_waker) && !long.is_over(&long_waker));
        long.progress();
        waits.tick(12_000);
        assert!(!long.is_over(&long_waker), "its own progress counts");
    }

    #[test]
    fn an_entry_that_is_used_again_ignores_reports_for_its_last_exchange() {
        let waits = Rc::new(Waits::default());
        let (_, waker) = waker();
        let first = waits.open();
        let late = first.reporter();
        drop(first);
        let second = waits.open();
        assert_eq!(waits.entries.borrow().len(), 1, "the entry is used again");
        second.begin(Duration::from_secs(1));
        waits.tick(900);
        late.report();
        waits.tick(1_000);
        assert!(second.is_over(&waker));
    }
}
