//! One exchange as filters see it: heads, bodies, properties, and how a filter pauses and resumes it.
//!
//! The pipeline owns the exchange and waits on it; host calls act on it while a guest runs. Both are on one thread,
//! and neither keeps it borrowed while the other runs. Sending and receiving are left to `pipeline`.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::message::head::{RequestHead, ResponseHead};
use crate::message::reply::LocalReply;
use crate::wasm::abi::numbers::Direction;
use info::StreamInfo;

pub mod info; // what is known about an exchange and no filter changes

/// The most properties filters may set on one stream; past it a new one is refused.
pub const PROPERTIES_MAX: usize = 64;
/// The longest property, path and value together, in bytes; past it it is refused.
pub const PROPERTY_MAX: usize = 64 << 10;

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
    pub info: StreamInfo,
    resumed: [u32; 2],
    failed: u32,
    closed: bool,
    waker: Option<Waker>,
}

impl Stream {
    /// A new exchange.
    #[must_use]
    pub fn new(request: RequestHead, info: StreamInfo) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State {
                request: Some(request),
                response: None,
                request_trailers: None,
                response_trailers: None,
                body: None,
                reply: None,
                properties: Vec::new(),
                info,
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

    /// The filter at `position` resumes the stream.
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

    /// Whether the filter at `position`, which paused the stream, has resumed it; registers `waker` if not.
    pub fn poll_resumed(&self, direction: Direction, position: u8, waker: &Waker) -> Poll<PauseEnd> {
        let mut state = self.state();
        if state.closed {
            return Poll::Ready(PauseEnd::Closed);
        }
        if state.reply.is_some() {
            return Poll::Ready(PauseEnd::Replied);
        }
        if state.failed & bit(position) != 0 {
            return Poll::Ready(PauseEnd::Failed);
        }
        if state.take_resumed(direction, position) {
            return Poll::Ready(PauseEnd::Resumed);
        }
        state.register(waker);
        Poll::Pending
    }
}

/// How a pause ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseEnd {
    /// It goes on.
    Resumed,
    /// A filter answered.
    Replied,
    /// The virtual machine of the filter is gone.
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

    /// Whether the filter at `position` has resumed the stream; asked once, it forgets it.
    pub fn take_resumed(&mut self, direction: Direction, position: u8) -> bool {
        match self.resumed.get_mut(direction as usize) {
            Some(resumed) if *resumed & bit(position) != 0 => {
                *resumed &= !bit(position);
                true
            }
            _ => false,
        }
    }

    /// Sets the task that is woken when something changes.
    pub fn register(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the task that waits.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn bit(position: u8) -> u32 {
    1_u32.checked_shl(u32::from(position)).unwrap_or(0)
}
