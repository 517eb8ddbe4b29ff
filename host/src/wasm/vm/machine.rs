//! One virtual machine of one thread: how it is started, entered, taken down and started again.
//!
//! `enter` is the only way into a guest. It finds the machine free, because what host calls ask for happens after them.
//! A machine that traps is taken down: its store is dropped, its exchanges see the filter fail, and the next exchange
//! starts it again, at most once per [`RESTART_GAP`]. What each callback means is left to `callbacks`.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use wasmtime::Store;

use super::epoch::on_epoch;
use super::exports::{Exports, call, function};
use super::limits::{epochs, store_limits};
use super::template::VmTemplate;
use crate::telemetry::counters::Counters;
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::queue::QueueEvent;
use crate::wasm::state::actions::Action;
use crate::wasm::state::contexts::{Active, Root};
use crate::wasm::state::embedder::{Embedder, NotRunning};
use crate::wasm::state::{HostState, Setup};

/// The least time between two starts of one virtual machine. In between its filters fail as configured.
pub const RESTART_GAP: Duration = Duration::from_secs(1);

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
    /// A plugin refused its configuration.
    #[error("{0} refuses its configuration; what it logged says why")]
    Refused(String),
}

/// A virtual machine.
#[derive(Debug)]
pub struct Vm {
    template: Arc<VmTemplate>,
    embedder: Rc<dyn Embedder>,
    mailbox: Option<(Sender<QueueEvent>, usize)>,
    counters: Arc<Counters>,
    epochs: u64,
    live: RefCell<Option<Live>>,
    /// Counts starts and ends, so that what was meant for an earlier start is recognised.
    generation: Cell<u32>,
    /// The rebuilds of shared tables when it started.
    rebuilds: Cell<u64>,
    started: Cell<Option<Instant>>,
}

struct Live {
    store: Store<HostState>,
    exports: Exports,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.data().fmt(f)
    }
}

impl Vm {
    /// A machine that is not started yet.
    #[must_use]
    pub fn new(
        template: Arc<VmTemplate>,
        embedder: Rc<dyn Embedder>,
        mailbox: Option<(Sender<QueueEvent>, usize)>,
        counters: Arc<Counters>,
    ) -> Rc<Self> {
        let epochs = epochs(template.deadline);
        Rc::new(Self {
            template,
            embedder,
            mailbox,
            counters,
            epochs,
            live: RefCell::new(None),
            generation: Cell::new(0),
            rebuilds: Cell::new(0),
            started: Cell::new(None),
        })
    }

    /// Which start of the machine this is.
    pub(super) const fn generation(&self) -> u32 {
        self.generation.get()
    }

    /// The plugin at a position.
    #[must_use]
    pub fn plugin(&self, root: usize) -> Option<&Arc<Plugin>> {
        self.template.plugins.get(root)
    }

    /// Whether it runs. One that does not is started if the last start is [`RESTART_GAP`] ago; one that knew shared
    /// tables which were rebuilt since is started at once.
    pub fn ready(self: &Rc<Self>) -> bool {
        if self.live.borrow().is_some() {
            return !self.outdated() || self.renew();
        }
        let now = Instant::now();
        if self
            .started
            .get()
            .is_some_and(|last| now.duration_since(last) < RESTART_GAP)
        {
            return false;
        }
        self.restart()
    }

    /// Whether shared tables were rebuilt since it started.
    pub(super) fn outdated(&self) -> bool {
        self.rebuilds.get() != self.template.shared.rebuilds.count()
    }

    /// Takes down a machine that knows nothing of the shared tables as they are now, and starts it.
    pub(super) fn renew(self: &Rc<Self>) -> bool {
        let live = self.live.try_borrow_mut().ok().and_then(|mut slot| slot.take());
        if let Some(live) = live {
            self.forget(live);
        }
        self.restart()
    }

    fn restart(self: &Rc<Self>) -> bool {
        match self.start() {
            Ok(()) => {
                self.counters.vm_restarts.add(1);
                tracing::warn!(vm = %self.template.name, "filter restarted");
                true
            }
            Err(error) => {
                tracing::error!(vm = %self.template.name, %error, "filter does not restart");
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
        self.rebuilds.set(self.template.shared.rebuilds.count());
        let live = self.instantiate().map_err(|error| self.trap(&error))?;
        *self.live.borrow_mut() = Some(live);
        for position in 0..self.template.plugins.len() {
            match self.start_root(position) {
                Ok(true) => {}
                Ok(false) => {
                    self.live.take();
                    let plugin = self.template.plugins.get(position);
                    return Err(StartError::Refused(
                        plugin.map_or_else(String::new, |p| p.name.clone()),
                    ));
                }
                Err(NotRunning) => {
                    let name = Arc::clone(&self.template.name);
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
            name: Arc::clone(&self.template.name),
            reason: format!("{error:#}"),
        }
    }

    fn instantiate(&self) -> wasmtime::Result<Live> {
        let template = &self.template;
        let host = HostState::new(Setup {
            name: Arc::clone(&template.name),
            vm_id: template.vm_id.clone(),
            limits: store_limits(template.memory),
            shared: Arc::clone(&template.shared),
            space: Arc::clone(&template.space),
            embedder: Rc::clone(&self.embedder),
            mailbox: self.mailbox.clone(),
        });
        let mut store = Store::new(template.pre.module().engine(), host);
        store.limiter(|host| &mut host.limits);
        let deadline = template.deadline;
        store.epoch_deadline_callback(move |mut store| on_epoch(store.data_mut(), deadline));
        store.set_epoch_deadline(self.epochs);
        let instance = template.pre.instantiate(&mut store)?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let allocate = function(&instance, &mut store, "proxy_on_memory_allocate")
            .or_else(|| function(&instance, &mut store, "malloc"))
            .ok_or_else(|| wasmtime::Error::msg("it exports neither proxy_on_memory_allocate nor malloc"))?;
        store.data_mut().guest.memory = Some(memory);
        store.data_mut().guest.allocate = Some(allocate);
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

    fn start_root(self: &Rc<Self>, position: usize) -> Result<bool, NotRunning> {
        let Some(plugin) = self.template.plugins.get(position) else {
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

    /// Runs `f` in the machine with `active` as the active context, and what it asked for afterwards. A machine in
    /// which `f` traps or panics is taken down.
    pub(super) fn enter<R>(
        self: &Rc<Self>,
        active: Active,
        f: impl FnOnce(&mut Store<HostState>, &Exports) -> wasmtime::Result<R>,
    ) -> Result<R, NotRunning> {
        let mut entry = Entry {
            slot: self.live.try_borrow_mut().map_err(|_| NotRunning)?,
            vm: self,
            returned: false,
        };
        let live = entry.slot.as_mut().ok_or(NotRunning)?;
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
        let trap = host.guest.trap.take();
        entry.returned = true;
        let trap = match (result, trap) {
            (Ok(value), None) => {
                drop(entry);
                if !actions.is_empty() {
                    self.carry_out(actions);
                }
                return Ok(value);
            }
            (Err(trap), _) | (_, Some(trap)) => trap,
        };
        let live = entry.slot.take();
        drop(entry);
        if let Some(live) = live {
            self.take_down(live, &format_args!("{trap:#}"));
        }
        Err(NotRunning)
    }

    /// Carries `actions` out in order. The machine is free: each of them may enter it again.
    fn carry_out(self: &Rc<Self>, actions: Vec<Action>) {
        let generation = self.generation.get();
        for action in actions {
            match action {
                Action::Resume(stream, direction, position) => stream.resume(direction, position),
                Action::Close(stream) => stream.close(),
                Action::Call(call) => self.embedder.call(Rc::<Self>::clone(self), generation, *call),
                Action::SetTimer(root, period) => {
                    self.embedder
                        .set_timer(Rc::<Self>::clone(self), generation, root, period);
                }
            }
        }
    }

    /// Takes down a machine that trapped or in which the host panicked.
    fn take_down(&self, live: Live, reason: &dyn std::fmt::Display) {
        self.counters.vm_traps.add(1);
        tracing::error!(vm = %self.template.name, error = %reason, "filter trapped");
        self.forget(live);
    }

    /// Drops `live`; every exchange that has a context in it sees its filter fail.
    fn forget(&self, live: Live) {
        self.generation.set(self.generation.get().wrapping_add(1));
        for context in live.store.data().streams.values() {
            context.stream.fail(context.position);
        }
    }
}

/// A machine that is being entered. Dropped before the call returned, which is when the host panicked under it, it
/// takes the machine down: the guest is half-way through a call.
struct Entry<'vm> {
    slot: RefMut<'vm, Option<Live>>,
    vm: &'vm Vm,
    returned: bool,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.returned
            && let Some(live) = self.slot.take()
        {
            self.vm
                .take_down(live, &"the host panicked in a call of this filter");
        }
    }
}
