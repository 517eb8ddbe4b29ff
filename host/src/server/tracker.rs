//! The list of all client connections of one thread: it finds those that were silent for too long, and orders them to
//! end.
//!
//! A timer per request would cost every request. Instead one task calls [`Tracker::tick`] twice a second: it advances
//! the thread's clock, closes connections past a timeout, and wakes exchanges whose wait is over ([`Waits`]). Obeying
//! an order is left to `connection`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::socket::Socket;
use crate::client::connection::Connection;
use crate::client::waits::Waits;

/// How often connections are looked at, and the precision of their timeouts.
pub const TICK: Duration = Duration::from_millis(500);

/// How long a client connection may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte of a request head, or the start of the connection, to the end of that head.
    pub header: Duration,
    /// From the end of an exchange to the next one.
    pub idle: Duration,
}

/// What a connection shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
    /// Finish the request at hand, then close.
    Finish,
    /// Close now.
    Close,
}

/// One connection in the list.
#[derive(Debug)]
pub struct Tracked {
    /// Its facts.
    pub connection: Rc<Connection>,
    /// What it shall do.
    pub order: Cell<Order>,
    /// Set by the socket when bytes came.
    arrived: Arc<AtomicBool>,
    /// Since when a request head is arriving.
    head_since: Cell<Option<u64>>,
    waker: RefCell<Option<Waker>>,
}

impl Tracked {
    /// A new connection.
    #[must_use]
    pub fn new(connection: Rc<Connection>) -> Rc<Self> {
        // A new connection owes its first request head from the start.
        let head_since = Cell::new(Some(connection.now()));
        Rc::new(Self {
            connection,
            order: Cell::new(Order::Serve),
            arrived: Arc::default(),
            head_since,
            waker: RefCell::new(None),
        })
    }

    /// Sets the task that is woken for an order.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        match known.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// A request head is complete.
    pub fn head_complete(&self) {
        self.head_since.set(None);
        self.arrived.store(false, Ordering::Relaxed);
    }

    /// Wraps the socket of this connection, so that it tells when bytes come.
    #[must_use]
    pub fn socket<S>(&self, stream: S) -> Socket<S> {
        Socket::new(stream, Arc::clone(&self.arrived))
    }

    fn give(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn overdue(&self, before: u64, now: u64, limits: &Timeouts) -> bool {
        let passed = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        if self.connection.open.get() > 0 {
            return false;
        }
        // What came in a tick in which an exchange was still open may have been the end of its body.
        if self.arrived.swap(false, Ordering::Relaxed)
            && self.connection.last.get() < before
            && self.head_since.get().is_none()
        {
            self.head_since.set(Some(now));
        }
        self.head_since
            .get()
            .is_some_and(|since| passed(since, limits.header))
            || passed(self.connection.last.get(), limits.idle)
    }
}

/// All connections of a thread.
#[derive(Debug)]
pub struct Tracker {
    waits: Rc<Waits>,
    started: Instant,
    /// As many as `accept` lets in.
    all: RefCell<HashMap<u64, Rc<Tracked>>>,
}

impl Tracker {
    /// No connections yet; advances the clock of `waits`.
    #[must_use]
    pub fn new(waits: Rc<Waits>) -> Self {
        Self {
            waits,
            started: Instant::now(),
            all: RefCell::default(),
        }
    }

    /// Adds a connection.
    pub fn add(&self, tracked: &Rc<Tracked>) {
        self.all
            .borrow_mut()
            .insert(tracked.connection.id, Rc::clone(tracked));
    }

    /// A connection ended.
    pub fn remove(&self, id: u64) {
        self.all.borrow_mut().remove(&id);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.borrow().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Advances the clock, wakes exchanges whose wait is over, and closes connections past a timeout. Returns how
    /// many connections.
    pub fn tick(&self, limits: &Timeouts) -> u64 {
        let before = self.waits.now();
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.waits.tick(now);
        let mut closed = 0;
        for tracked in self.all.borrow().values() {
            if tracked.order.get() != Order::Close && tracked.overdue(before, now, limits) {
                tracked.give(Order::Close);
                closed += 1;
            }
        }
        closed
    }

    /// Gives every connection an order.
    pub fn order(&self, order: Order) {
        self.all.borrow().values().for_each(|tracked| tracked.give(order));
    }
}
