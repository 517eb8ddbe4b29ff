//! The border between virtual machines and the code that embeds them: what a guest asks of the embedder, and what the
//! embedder brings back later.
//!
//! Both directions are traits, so that neither side imports the other. The embedder never calls back from within a
//! call.

use std::rc::Rc;
use std::time::Duration;

use super::actions::{CallReply, Callout};

/// The virtual machine is not running: it trapped or was replaced, now or before, or it does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the filter's virtual machine is not running")]
pub struct NotRunning;

/// The code that embeds virtual machines and carries out what guests ask for.
pub trait Embedder: std::fmt::Debug {
    /// Whether a call-out may name `cluster`.
    fn knows(&self, cluster: &str) -> bool;
    /// Starts `call`; the answer is handed to `vm` later.
    fn call(&self, vm: Rc<dyn RootContexts>, generation: u32, call: Callout);
    /// Sets the timer of the root context `root`; a period of zero stops it.
    fn set_timer(&self, vm: Rc<dyn RootContexts>, generation: u32, root: usize, period: Duration);
}

/// A virtual machine, as far as the embedder brings something to its root contexts. `generation` says which start of
/// the machine is meant: a restarted machine knows nothing of what was asked before.
pub trait RootContexts: std::fmt::Debug {
    /// Hands a root context the answer of its call-out.
    ///
    /// # Errors
    /// [`NotRunning`] when the machine is not of `generation` any more, or traps now.
    fn call_response(
        self: Rc<Self>,
        generation: u32,
        root: usize,
        token: u32,
        reply: CallReply,
    ) -> Result<(), NotRunning>;

    /// Runs the timer of a root context.
    ///
    /// # Errors
    /// As [`RootContexts::call_response`].
    fn tick(self: Rc<Self>, generation: u32, root: usize) -> Result<(), NotRunning>;
}
