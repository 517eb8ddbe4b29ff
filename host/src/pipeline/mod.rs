//! One request from socket to socket.
//!
//! ```text
//! serve ─► framing ─► filters in order ─► route ─► worker (attempts) ─► filters reversed ─► client
//!                        │ hold, answer, close          │
//!                        └──────── rescue ◄─────────────┘  every error is an answer, and passes the filters too
//! ```
//! Everything of a thread hangs on its [`lane::Lane`]; nothing here is shared between threads.

use std::rc::Rc;
use std::sync::Arc;

use crate::wasm::instance::Vm;
use crate::wasm::plugin::Plugin;

pub mod answer; // what goes back to the client
pub mod body; // bodies that filters look at
pub mod callout; // requests and timers of the filters themselves
pub mod exchange; // the filters' part of one request
pub mod forward; // attempts, until a worker answers
pub mod lane; // all of one thread
pub mod serve; // the order of it all
pub mod tunnel; // connections that change their protocol

/// The most filters of a chain.
pub const FILTERS_MAX: usize = 16;

/// A filter of one thread's chain.
#[derive(Debug)]
pub struct Filter {
    /// Where it runs.
    pub vm: Rc<Vm>,
    /// Which plugin of that virtual machine it is.
    pub root: usize,
    /// What the file says about it.
    pub plugin: Arc<Plugin>,
}
