//! What guests may see and change of one exchange, and how they hold it and let it go.
//!
//! The pipeline owns the exchange and waits on it; host calls act on it while a guest runs. Both are on one thread,
//! and neither keeps it borrowed while the other runs.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Version};

use crate::client::Connection;
use crate::message::head::{RequestHead, ResponseHead};
use crate::wasm::abi::numbers::Direction;

/// The most properties filters may set on one stream; past it a new one is refused.
pub const PROPERTIES_MAX: usize = 64;
/// The longest property, path and value together, in bytes; past it it is refused.
pub const PROPERTY_MAX: usize = 64 << 10;

/// An answer made by a filter or by the proxy itself.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// The head.
    pub head: ResponseHead,
    /// The body.
    pub body: Bytes,
    /// What `response.code_details` says.
    pub details: Rc<str>,
}

/// One exchange.
#[derive(Debug)]
pub struct Stream {
    state: RefCell<State>,
}

/// The changing part of a [`Stream`].
#[derive(Debug)]
pub struct State {
    /// Present until the request left for a worker.
    pub request: Option<RequestHead>,
    /// Present from the worker's answer until it left for the client.
    pub response: Option<ResponseHead>,
    /// Present in the trailers callback.
    pub request_trailers: Option<HeaderMap>,
    /// Present in the trailers callback.
    pub response_trailers: Option<HeaderMap>,
    /// What a body callback may look at: the direction and the bytes.
    pub body: Option<(Direction, BytesMut)>,
    /// A filter answered; taken by the pipeline.
    pub reply: Option<LocalReply>,
    /// Set by filters for filters.
    pub properties: Vec<(Box<[u8]>, Bytes)>,
    /// What is known about the exchange.
    pub facts: Facts,
    resumed: [u32; 2],
    failed: u32,
    closed: bool,
    waker: Option<Waker>,
}

/// What is known about an exchange and no filter changes.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// When the request head was complete.
    pub started: SystemTime,
    /// The request's protocol.
    pub version: Version,
    /// The cluster that serves it, once chosen.
    pub cluster: Option<Arc<str>>,
    /// The route that chose it.
    pub route: Option<Arc<str>>,
    /// `ip:port` of the worker of the last attempt.
    pub upstream: Option<Rc<str>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Status of the answer, once there is one.
    pub status: Option<u16>,
    /// Where the answer came from.
    pub details: Option<Rc<str>>,
    /// Body bytes so far, request and response.
    pub sizes: [u64; 2],
}

impl Stream {
    /// A new exchange.
    #[must_use]
    pub fn new(request: RequestHead, facts: Facts) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State {
                request: Some(request),
                response: None,
                request_trailers: None,
                response_trailers: None,
                body: None,
                reply: None,
                properties: Vec::new(),
                facts,
                resumed: [0; 2],
                failed: 0,
                closed: false,
                waker: None,
            }),
        })
    }

    /// Its state. Never kept across a guest call or an `await`.
    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// The filter at `position` lets go.
    pub(crate) fn resume(&self, direction: Direction, position: u8) {
        let mut state = self.state();
        if let Some(resumed) = state.resumed.get_mut(direction as usize) {
            *resumed |= bit(position);
        }
        state.wake();
    }

    /// The stream shall end without an answer.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake();
    }

    /// The virtual machine of the filter at `position` is gone.
    pub(crate) fn fail(&self, position: u8) {
        let mut state = self.state();
        state.failed |= bit(position);
        state.wake();
    }

    /// Asks whether the filter at `position`, which held the stream, let it go; registers `waker` if not.
    pub fn poll_held(&self, direction: Direction, position: u8, waker: &Waker) -> Poll<Release> {
        let mut state = self.state();
        if state.closed {
            return Poll::Ready(Release::Closed);
        }
        if state.reply.is_some() {
            return Poll::Ready(Release::Replied);
        }
        if state.failed & bit(position) != 0 {
            return Poll::Ready(Release::Failed);
        }
        if state.take_resumed(direction, position) {
            return Poll::Ready(Release::Resumed);
        }
        state.register(waker);
        Poll::Pending
    }
}

/// How a held stream was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It goes on.
    Resumed,
    /// A filter answered.
    Replied,
    /// The filter died.
    Failed,
    /// It ends.
    Closed,
}

impl State {
    /// Whether the stream shall end without an answer.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Takes the mark that the filter at `position` let go.
    pub fn take_resumed(&mut self, direction: Direction, position: u8) -> bool {
        match self.resumed.get_mut(direction as usize) {
            Some(resumed) if *resumed & bit(position) != 0 => {
                *resumed &= !bit(position);
                true
            }
            _ => false,
        }
    }

    /// Whom to wake when something changes.
    pub fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes whoever waits.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn bit(position: u8) -> u32 {
    1_u32.checked_shl(u32::from(position)).unwrap_or(0)
}
