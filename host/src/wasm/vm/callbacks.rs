//! The callbacks of a guest: what each one is handed and what its answer means.
//!
//! Every method enters the machine once. A context carries the generation of the machine it was opened in; a machine
//! that was restarted does not know it.

use std::rc::Rc;

use super::exports::call;
use super::machine::Vm;
use crate::wasm::abi::numbers::Direction;
use crate::wasm::shared::queue::QueueEvent;
use crate::wasm::state::actions::CallReply;
use crate::wasm::state::contexts::{Active, StreamContext};
use crate::wasm::state::embedder::{NotRunning, RootContexts};
use crate::wasm::stream::Stream;

/// A plugin's context of one exchange, and the generation of the machine it is in.
#[derive(Debug, Clone, Copy)]
pub struct OpenContext {
    id: u32,
    generation: u32,
}

impl Vm {
    /// Opens a context for an exchange and hands it the request headers. Returns the context and the action.
    ///
    /// # Errors
    /// [`NotRunning`] when the machine is not running.
    pub fn request_headers(
        self: &Rc<Self>,
        context: StreamContext,
        end_of_stream: bool,
    ) -> Result<(OpenContext, u32), NotRunning> {
        let generation = self.generation();
        self.enter(Active::Stream(context.clone()), |store, exports| {
            let host = store.data_mut();
            let id = host.new_context();
            let parent = host.roots.get(context.root).map_or(0, |root| root.id);
            let count = match &exports.headers {
                [Some(_), _] => header_count(&context.stream, Direction::Request),
                _ => 0,
            };
            host.streams.insert(id, context);
            call(&exports.context_create, &mut *store, (id, parent))?;
            let [on_headers, _] = &exports.headers;
            let action = call(on_headers, store, (id, count, u32::from(end_of_stream)))?;
            Ok((OpenContext { id, generation }, action.unwrap_or(0)))
        })
    }

    /// Hands the response headers to the context. Returns the action.
    ///
    /// # Errors
    /// [`NotRunning`] when the machine was restarted since the context was opened, or traps now.
    pub fn response_headers(
        self: &Rc<Self>,
        open: OpenContext,
        context: StreamContext,
        end_of_stream: bool,
    ) -> Result<u32, NotRunning> {
        self.check(open)?;
        let count = header_count(&context.stream, Direction::Response);
        self.enter(Active::Stream(context), |store, exports| {
            let [_, on_headers] = &exports.headers;
            Ok(call(on_headers, store, (open.id, count, u32::from(end_of_stream)))?.unwrap_or(0))
        })
    }

    /// Hands `size` bytes of a body to the context. Returns the action.
    ///
    /// # Errors
    /// As [`Vm::response_headers`].
    pub fn body(
        self: &Rc<Self>,
        open: OpenContext,
        context: StreamContext,
        direction: Direction,
        size: usize,
        end_of_stream: bool,
    ) -> Result<u32, NotRunning> {
        self.check(open)?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.enter(Active::Stream(context), |store, exports| {
            let on_body = exports.body.get(direction as usize).and_then(Option::as_ref);
            on_body.map_or(Ok(0), |f| {
                f.call(store, (open.id, size, u32::from(end_of_stream)))
            })
        })
    }

    /// Hands `count` trailers to the context. Returns the action.
    ///
    /// # Errors
    /// As [`Vm::response_headers`].
    pub fn trailers(
        self: &Rc<Self>,
        open: OpenContext,
        context: StreamContext,
        direction: Direction,
        count: usize,
    ) -> Result<u32, NotRunning> {
        self.check(open)?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.enter(Active::Stream(context), |store, exports| {
            let on_trailers = exports.trailers.get(direction as usize).and_then(Option::as_ref);
            on_trailers.map_or(Ok(0), |f| f.call(store, (open.id, count)))
        })
    }

    /// Ends a context: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`, in the order of Envoy.
    ///
    /// # Errors
    /// As [`Vm::response_headers`]; the context is gone either way.
    pub fn close(self: &Rc<Self>, open: OpenContext, context: StreamContext) -> Result<(), NotRunning> {
        self.check(open)?;
        self.enter(Active::Stream(context), |store, exports| {
            call(&exports.log, &mut *store, open.id)?;
            call(&exports.done, &mut *store, open.id)?;
            call(&exports.delete, &mut *store, open.id)?;
            store.data_mut().streams.remove(&open.id);
            Ok(())
        })
    }

    /// Notifies a root context that an item was added to a queue.
    ///
    /// # Errors
    /// [`NotRunning`] when the machine is not running.
    pub fn queue_ready(self: &Rc<Self>, event: QueueEvent) -> Result<(), NotRunning> {
        self.enter(Active::Root(event.root), |store, exports| {
            let id = store.data().roots.get(event.root).map_or(0, |root| root.id);
            call(&exports.queue_ready, store, (id, event.queue))?;
            Ok(())
        })
    }

    fn check(&self, open: OpenContext) -> Result<(), NotRunning> {
        if open.generation == self.generation() {
            Ok(())
        } else {
            Err(NotRunning)
        }
    }
}

impl RootContexts for Vm {
    fn tick(self: Rc<Self>, generation: u32, root: usize) -> Result<(), NotRunning> {
        if generation != self.generation() {
            return Err(NotRunning);
        }
        if self.outdated() {
            // Its next start sets a timer of its own.
            self.renew();
            return Err(NotRunning);
        }
        self.enter(Active::Root(root), |store, exports| {
            let id = store.data().roots.get(root).map_or(0, |root| root.id);
            call(&exports.tick, store, id)?;
            Ok(())
        })
    }

    fn call_response(
        self: Rc<Self>,
        generation: u32,
        root: usize,
        token: u32,
        reply: CallReply,
    ) -> Result<(), NotRunning> {
        if generation != self.generation() {
            return Err(NotRunning);
        }
        let headers = reply.head.as_ref().map_or(0, |head| head.headers.len() + 1);
        let counts =
            [headers, reply.body.len(), reply.trailers.len()].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        self.enter(Active::Root(root), |store, exports| {
            let host = store.data_mut();
            host.reply = Some(reply);
            let id = host.roots.get(root).map_or(0, |root| root.id);
            let [headers, body, trailers] = counts;
            let delivered = call(
                &exports.call_response,
                &mut *store,
                (id, token, headers, body, trailers),
            );
            store.data_mut().reply = None;
            delivered.map(|_| ())
        })
    }
}

fn header_count(stream: &Stream, direction: Direction) -> u32 {
    let state = stream.state();
    let count = match direction {
        // Host is counted as :authority; the other three pseudo-fields are always there.
        Direction::Request => state.request.as_ref().map_or(0, |head| head.headers.len() + 3),
        Direction::Response => state.response.as_ref().map_or(0, |head| head.headers.len() + 1),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}
