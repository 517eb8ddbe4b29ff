//! Actions that a guest asked for during a call and that happen once it has returned.
//!
//! A guest is never entered while it is on the stack: SDKs hold borrows of their own tables during a callback. So
//! host calls whose effect may call back into a guest only append an action here; `vm` carries them out in order when
//! the virtual machine is free again.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::message::head::{RequestHead, ResponseHead};
use crate::wasm::abi::numbers::Direction;
use crate::wasm::stream::Stream;

/// The most actions of one call; past it the host call that asks for one answers `InternalFailure`.
pub const ACTIONS_MAX: usize = 1024;

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// The filter at a position of the chain resumes the stream.
    Resume(Rc<Stream>, Direction, u8),
    /// The stream ends without an answer.
    Close(Rc<Stream>),
    /// A call-out starts.
    Call(Box<Callout>),
    /// The timer of a root context changes; zero stops it.
    SetTimer(usize, Duration),
}

/// A request that a guest sends itself.
#[derive(Debug)]
pub struct Callout {
    /// The root context that gets the answer.
    pub root: usize,
    /// Names the call to the guest.
    pub token: u32,
    /// The cluster to ask.
    pub cluster: String,
    /// The request, without its body.
    pub head: RequestHead,
    /// Its body.
    pub body: Bytes,
    /// How long the guest waits; zero means as long as it takes.
    pub timeout: Duration,
}

/// How a call-out ended. Without headers it failed before there was any answer.
#[derive(Debug, Default)]
pub struct CallReply {
    /// `:status` among them.
    pub head: Option<ResponseHead>,
    /// The whole body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: HeaderMap,
}
