//! Who waits too long, and who shall end: the connections of one thread, looked at twice a second.
//!
//! A timer per request would cost every request; a clock of half-second steps that one task advances costs none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::client::Connection;
use crate::config;

/// How often connections are looked at, and the precision of their timeouts.
pub const STEP: Duration = Duration::from_millis(500);

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

/// One connection, watched.
#[derive(Debug)]
pub struct Watched {
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

impl Watched {
    /// Begins to watch.
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

    /// Whom to wake for an order.
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

    /// The socket of this connection, which tells when bytes come.
    #[must_use]
    pub fn socket(&self, stream: TcpStream) -> Socket {
        Socket {
            stream,
            arrived: Arc::clone(&self.arrived),
        }
    }

    fn give(&self, order: Order) {
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn overdue(&self, before: u64, now: u64, limits: &config::Server) -> bool {
        let passed = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        if self.connection.open.get() > 0 {
            return false;
        }
        // What came in a step in which a request was still open may have been the end of its body.
        if self.arrived.swap(false, Ordering::Relaxed)
            && self.connection.last.get() < before
            && self.head_since.get().is_none()
        {
            self.head_since.set(Some(now));
        }
        self.head_since
            .get()
            .is_some_and(|since| passed(since, limits.header_timeout))
            || passed(self.connection.last.get(), limits.idle_timeout)
    }
}

/// All connections of a thread.
#[derive(Debug)]
pub struct Watch {
    /// Advances with [`Watch::step`], in milliseconds.
    pub clock: Rc<Cell<u64>>,
    started: Instant,
    all: RefCell<HashMap<u64, Rc<Watched>>>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            clock: Rc::default(),
            started: Instant::now(),
            all: RefCell::default(),
        }
    }
}

impl Watch {
    /// Adds a connection.
    pub fn add(&self, watched: &Rc<Watched>) {
        self.all
            .borrow_mut()
            .insert(watched.connection.id, Rc::clone(watched));
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

    /// Advances the clock and closes what is overdue. Returns how many.
    pub fn step(&self, limits: &config::Server) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = self.clock.replace(now);
        let mut closed = 0;
        for watched in self.all.borrow().values() {
            if watched.order.get() != Order::Close && watched.overdue(before, now, limits) {
                watched.give(Order::Close);
                closed += 1;
            }
            if watched.connection.wait.check(now) {
                // Whoever waits on its behalf finds out when it is polled.
                watched.wake();
            }
        }
        closed
    }

    /// Gives every connection an order.
    pub fn order(&self, order: Order) {
        self.all.borrow().values().for_each(|watched| watched.give(order));
    }
}

/// A socket that tells when bytes came.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    arrived: Arc<AtomicBool>,
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if read.is_ready() {
            this.arrived.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
