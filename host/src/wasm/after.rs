//! What a guest asked for during a call and happens once it has returned.
//!
//! A guest is never entered while it is on the stack: SDKs hold borrows of their own tables during a callback. So
//! host calls whose effect may call back into a guest only append here, and the outermost [`Vm::enter`] works the
//! queue off, first in, first out, when the virtual machine is free again.
//!
//! [`Vm::enter`]: crate::wasm::instance::Vm::enter

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::wasm::abi::numbers::Direction;
use crate::wasm::instance::Vm;
use crate::wasm::stream::Stream;

/// The most actions of one call; past it the host call that adds one answers `InternalFailure`.
pub const ACTIONS_MAX: usize = 1024;

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// The filter at `position` lets the stream go on.
    Resume(Rc<Stream>, Direction, u8),
    /// The stream ends without an answer.
    Close(Rc<Stream>),
    /// A call-out starts.
    Call(Box<Callout>),
    /// The timer of a root context changes; zero stops it.
    Tick(usize, Duration),
}

/// A request a guest sends on its own account.
#[derive(Debug)]
pub struct Callout {
    /// The root context that gets the answer.
    pub root: usize,
    /// Names the call to the guest.
    pub token: u32,
    /// The cluster to ask.
    pub cluster: String,
    /// The request, without its body.
    pub head: crate::message::head::RequestHead,
    /// Its body.
    pub body: Bytes,
    /// How long the guest waits; zero means as long as it takes.
    pub timeout: Duration,
}

/// How a call-out ended. Without headers it failed before there was any answer.
#[derive(Debug, Default)]
pub struct CallReply {
    /// `:status` among them.
    pub head: Option<crate::message::head::ResponseHead>,
    /// The whole body.
    pub body: Bytes,
    /// Its trailers.
    pub trailers: HeaderMap,
}

/// What lies outside the virtual machines: whoever runs them carries this out.
pub trait Outside: std::fmt::Debug {
    /// Whether a call-out may name `cluster`.
    fn knows(&self, cluster: &str) -> bool;
    /// Starts `call`; the answer is handed to `vm` later, never from within.
    fn call(&self, vm: &Rc<Vm>, generation: u32, call: Callout);
    /// Changes the timer of the root context `root`.
    fn tick(&self, vm: &Rc<Vm>, generation: u32, root: usize, period: Duration);
}

/// Works `actions` off in order.
pub(crate) fn drain(actions: Vec<Action>, vm: &Rc<Vm>, generation: u32, outside: &dyn Outside) {
    for action in actions {
        match action {
            Action::Resume(stream, direction, position) => stream.resume(direction, position),
            Action::Close(stream) => stream.close(),
            Action::Call(call) => outside.call(vm, generation, *call),
            Action::Tick(root, period) => outside.tick(vm, generation, root, period),
        }
    }
}
