//! One virtual machine of one thread: how it starts, how it is entered, how it dies and comes back.
//!
//! [`Vm::enter`] is the only way into a guest. It finds the machine free, because what calls ask for happens after
//! them, and it takes a trapped machine down: its store is dropped, its exchanges are told, and the next exchange
//! makes a new one, at most one per [`RESTART_GAP`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use wasmtime::Store;

use crate::telemetry::counters::Counters;
use crate::wasm::abi::numbers::Direction;
use crate::wasm::after::{self, CallReply, Outside};
use crate::wasm::context::{Active, Host, Root, StreamContext, Surroundings};
use crate::wasm::engine::{Blueprint, on_epoch};
use crate::wasm::exports::{Exports, call, function};
use crate::wasm::limits::{epochs, store_limits};
use crate::wasm::shared::queue::Hint;
use crate::wasm::stream::Stream;

/// The least time between two starts of one virtual machine. In between its filters fail as configured.
pub const RESTART_GAP: Duration = Duration::from_secs(1);

/// The virtual machine is not there: it trapped, now or before, or it does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the filter's virtual machine is not running")]
pub struct Dead;

/// Why a virtual machine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It trapped or lacks what the ABI demands.
    #[error("{name} does not start: {reason}")]
    Trap {
        /// The virtual machine.
        name: Arc<str>,
        /// What the engine says.
        reason: String,
    },
    /// A plugin said no to its configuration.
    #[error("{0} refuses its configuration; what it logged says why")]
    Refused(String),
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    blueprint: Arc<Blueprint>,
    outside: Rc<dyn Outside>,
    mailbox: Option<(Sender<Hint>, usize)>,
    counters: Arc<Counters>,
    epochs: u64,
    live: RefCell<Option<Live>>,
    generation: Cell<u32>,
    started: Cell<Option<Instant>>,
}

struct Live {
    store: Store<Host>,
    exports: Exports,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.data().fmt(f)
    }
}

/// A plugin's context of one exchange, and the life of the machine it is in.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    id: u32,
    generation: u32,
}

impl Vm {
    /// A machine that is not started yet.
    #[must_use]
    pub fn new(
        blueprint: Arc<Blueprint>,
        outside: Rc<dyn Outside>,
        mailbox: Option<(Sender<Hint>, usize)>,
        counters: Arc<Counters>,
    ) -> Rc<Self> {
        let epochs = epochs(blueprint.deadline);
        Rc::new(Self {
            blueprint,
            outside,
            mailbox,
            counters,
            epochs,
            live: RefCell::new(None),
            generation: Cell::new(0),
            started: Cell::new(None),
        })
    }

    /// Whether it runs; one that does not is started if the last start is long enough ago.
    pub fn ready(self: &Rc<Self>) -> bool {
        if self.live.borrow().is_some() {
            return true;
        }
        let now = Instant::now();
        if self
            .started
            .get()
            .is_some_and(|last| now.duration_since(last) < RESTART_GAP)
        {
            return false;
        }
        match self.start() {
            Ok(()) => {
                self.counters.vm_restarts.add(1);
                tracing::warn!(vm = %self.blueprint.name, "filter restarted");
                true
            }
            Err(error) => {
                tracing::error!(vm = %self.blueprint.name, %error, "filter does not restart");
                false
            }
        }
    }

    /// Starts it: `_initialize`, then for each plugin its root context, `proxy_on_vm_start`, `proxy_on_configure`.
    ///
    /// # Errors
    /// See [`StartError`]; the machine is not running then.
    pub fn start(self: &Rc<Self>) -> Result<(), StartError> {
        self.started.set(Some(Instant::now()));
        self.generation.set(self.generation.get().wrapping_add(1));
        let live = self.instantiate().map_err(|error| self.trap(&error))?;
        *self.live.borrow_mut() = Some(live);
        for position in 0..self.blueprint.plugins.len() {
            match self.start_root(position) {
                Ok(true) => {}
                Ok(false) => {
                    self.live.take();
                    let plugin = self.blueprint.plugins.get(position);
                    return Err(StartError::Refused(
                        plugin.map_or_else(String::new, |p| p.name.clone()),
                    ));
                }
                Err(Dead) => {
                    let name = Arc::clone(&self.blueprint.name);
                    return Err(StartError::Trap {
                        name,
                        reason: "it trapped while it was configured".into(),
                    });
                }
            }
        }
        Ok(())
    }

    fn trap(&self, error: &wasmtime::Error) -> StartError {
        StartError::Trap {
            name: Arc::clone(&self.blueprint.name),
            reason: format!("{error:#}"),
        }
    }

    fn instantiate(&self) -> wasmtime::Result<Live> {
        let blueprint = &self.blueprint;
        let host = Host::new(Surroundings {
            name: Arc::clone(&blueprint.name),
            vm_id: blueprint.vm_id.clone(),
            limits: store_limits(blueprint.memory),
            shared: Arc::clone(&blueprint.shared),
            space: Arc::clone(&blueprint.space),
            outside: Rc::clone(&self.outside),
            mailbox: self.mailbox.clone(),
        });
        let mut store = Store::new(blueprint.pre.module().engine(), host);
        store.limiter(|host| &mut host.limits);
        let deadline = blueprint.deadline;
        store.epoch_deadline_callback(move |mut store| on_epoch(store.data_mut(), deadline));
        store.set_epoch_deadline(self.epochs);
        let instance = blueprint.pre.instantiate(&mut store)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let allocate = function(&instance, &mut store, "proxy_on_memory_allocate")
            .or_else(|| function(&instance, &mut store, "malloc"))
            .ok_or_else(|| wasmtime::Error::msg("it exports neither proxy_on_memory_allocate nor malloc"))?;
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = Some(allocate);
        let exports = Exports::of(&instance, &mut store);
        for start in ["_initialize", "_start"] {
            if let Some(start) = function::<(), ()>(&instance, &mut store, start) {
                start.call(&mut store, ())?;
                break;
            }
        }
        if let Some(main) = function::<(u32, u32), u32>(&instance, &mut store, "main") {
            main.call(&mut store, (0, 0))?;
        }
        Ok(Live { store, exports })
    }

    fn start_root(self: &Rc<Self>, position: usize) -> Result<bool, Dead> {
        let Some(plugin) = self.blueprint.plugins.get(position) else {
            return Ok(true);
        };
        let size = u32::try_from(plugin.config.len()).unwrap_or(u32::MAX);
        let started = self.enter(Active::Root(position), |store, exports| {
            let id = store.data_mut().new_context();
            store.data_mut().roots.push(Root {
                id,
                plugin: Arc::clone(plugin),
            });
            call(&exports.context_create, &mut *store, (id, 0))?;
            if call(&exports.vm_start, &mut *store, (id, 0))? == Some(0) {
                return Ok(false);
            }
            store.data_mut().configuring = true;
            let configured = call(&exports.configure, &mut *store, (id, size));
            store.data_mut().configuring = false;
            Ok(configured? != Some(0))
        })?;
        Ok(started)
    }

    /// Runs `f` in the machine with `active` as the active context, and what it asked for afterwards.
    fn enter<R>(
        self: &Rc<Self>,
        active: Active,
        f: impl FnOnce(&mut Store<Host>, &Exports) -> wasmtime::Result<R>,
    ) -> Result<R, Dead> {
        let mut slot = self.live.try_borrow_mut().map_err(|_| Dead)?;
        let live = slot.as_mut().ok_or(Dead)?;
        live.store.set_epoch_deadline(self.epochs);
        let host = live.store.data_mut();
        host.checked = None;
        host.entered.clone_from(&active);
        host.active = active;
        let result = f(&mut live.store, &live.exports);
        let host = live.store.data_mut();
        host.active = Active::None;
        host.entered = Active::None;
        let actions = std::mem::take(&mut host.after);
        let trap = match (result, host.poisoned.take()) {
            (Ok(value), None) => {
                drop(slot);
                if !actions.is_empty() {
                    after::drain(actions, self, self.generation.get(), &*self.outside);
                }
                return Ok(value);
            }
            (Err(trap), _) | (_, Some(trap)) => trap,
        };
        let dead = slot.take();
        drop(slot);
        self.bury(dead, &trap);
        Err(Dead)
    }

    /// Tells every exchange of a trapped machine and drops it.
    fn bury(&self, live: Option<Live>, trap: &wasmtime::Error) {
        self.generation.set(self.generation.get().wrapping_add(1));
        self.counters.vm_traps.add(1);
        tracing::error!(vm = %self.blueprint.name, error = %format_args!("{trap:#}"), "filter trapped");
        if let Some(live) = live {
            for context in live.store.data().streams.values() {
                context.stream.fail(context.position);
            }
        }
    }

    /// Opens a context for an exchange and hands it the request headers. Returns the context and the action.
    ///
    /// # Errors
    /// [`Dead`] when the machine is not running.
    pub fn request_headers(
        self: &Rc<Self>,
        context: StreamContext,
        end_of_stream: bool,
    ) -> Result<(Opened, u32), Dead> {
        let generation = self.generation.get();
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
            Ok((Opened { id, generation }, action.unwrap_or(0)))
        })
    }

    /// Hands the response headers to the context. Returns the action.
    ///
    /// # Errors
    /// [`Dead`] when the machine trapped since the context was opened, or now.
    pub fn response_headers(
        self: &Rc<Self>,
        opened: Opened,
        context: StreamContext,
        end_of_stream: bool,
    ) -> Result<u32, Dead> {
        self.check(opened)?;
        let count = header_count(&context.stream, Direction::Response);
        self.enter(Active::Stream(context), |store, exports| {
            let [_, on_headers] = &exports.headers;
            Ok(call(on_headers, store, (opened.id, count, u32::from(end_of_stream)))?.unwrap_or(0))
        })
    }

    /// Hands `size` bytes of a body to the context. Returns the action.
    ///
    /// # Errors
    /// As [`Vm::response_headers`].
    pub fn body(
        self: &Rc<Self>,
        opened: Opened,
        context: StreamContext,
        direction: Direction,
        size: usize,
        end_of_stream: bool,
    ) -> Result<u32, Dead> {
        self.check(opened)?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.enter(Active::Stream(context), |store, exports| {
            let on_body = exports.body.get(direction as usize).and_then(Option::as_ref);
            on_body.map_or(Ok(0), |f| {
                f.call(store, (opened.id, size, u32::from(end_of_stream)))
            })
        })
    }

    /// Hands `count` trailers to the context. Returns the action.
    ///
    /// # Errors
    /// As [`Vm::response_headers`].
    pub fn trailers(
        self: &Rc<Self>,
        opened: Opened,
        context: StreamContext,
        direction: Direction,
        count: usize,
    ) -> Result<u32, Dead> {
        self.check(opened)?;
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.enter(Active::Stream(context), |store, exports| {
            let on_trailers = exports.trailers.get(direction as usize).and_then(Option::as_ref);
            on_trailers.map_or(Ok(0), |f| f.call(store, (opened.id, count)))
        })
    }

    /// Ends a context: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`, in the order of Envoy.
    ///
    /// # Errors
    /// As [`Vm::response_headers`]; the context is gone either way.
    pub fn close(self: &Rc<Self>, opened: Opened, context: StreamContext) -> Result<(), Dead> {
        self.check(opened)?;
        self.enter(Active::Stream(context), |store, exports| {
            call(&exports.log, &mut *store, opened.id)?;
            call(&exports.done, &mut *store, opened.id)?;
            call(&exports.delete, &mut *store, opened.id)?;
            store.data_mut().streams.remove(&opened.id);
            Ok(())
        })
    }

    /// Runs the timer of a root context.
    ///
    /// # Errors
    /// [`Dead`] when the machine is not of `generation` any more, or trapped now.
    pub fn tick(self: &Rc<Self>, generation: u32, root: usize) -> Result<(), Dead> {
        if generation != self.generation.get() {
            return Err(Dead);
        }
        self.enter(Active::Root(root), |store, exports| {
            let id = store.data().roots.get(root).map_or(0, |root| root.id);
            call(&exports.tick, store, id)?;
            Ok(())
        })
    }

    /// Tells a root context that something was added to a queue.
    ///
    /// # Errors
    /// [`Dead`] when the machine is not running.
    pub fn queue_ready(self: &Rc<Self>, hint: Hint) -> Result<(), Dead> {
        self.enter(Active::Root(hint.root), |store, exports| {
            let id = store.data().roots.get(hint.root).map_or(0, |root| root.id);
            call(&exports.queue_ready, store, (id, hint.queue))?;
            Ok(())
        })
    }

    /// Hands a root context the answer of its call-out.
    ///
    /// # Errors
    /// As [`Vm::tick`].
    pub fn call_response(
        self: &Rc<Self>,
        generation: u32,
        root: usize,
        token: u32,
        reply: CallReply,
    ) -> Result<(), Dead> {
        if generation != self.generation.get() {
            return Err(Dead);
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

    fn check(&self, opened: Opened) -> Result<(), Dead> {
        if opened.generation == self.generation.get() {
            Ok(())
        } else {
            Err(Dead)
        }
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
