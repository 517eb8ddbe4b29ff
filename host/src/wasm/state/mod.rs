//! The state that host calls act on: the data of a wasmtime store.
//!
//! A call acts on the *active* context: the one that was entered, until the guest names another
//! (`proxy_set_effective_context`). Effects that may call back into a guest wait in [`HostState::after`]. Entering the
//! guest is left to `vm`.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::Sender;
use wasmtime::StoreLimits;

use crate::message::map::Map;
use crate::wasm::abi::memory::{Guest, HasGuest};
use crate::wasm::abi::numbers::{Direction, MapKind, Status};
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::Shared;
use crate::wasm::shared::data::Space;
use crate::wasm::shared::metric::Metric;
use crate::wasm::shared::queue::QueueEvent;
use actions::{ACTIONS_MAX, Action, CallReply};
use contexts::{Active, IdHasher, Root, StreamContext};
use embedder::Embedder;

pub mod actions; // what happens once a call has returned
pub mod contexts; // root and stream contexts
pub mod embedder; // the border to the code that embeds virtual machines

/// The store's data.
pub struct HostState {
    /// The guest's memory and allocator.
    pub guest: Guest,
    /// Memory limits.
    pub limits: StoreLimits,
    /// The name of the virtual machine in logs.
    pub name: Arc<str>,
    /// Scopes shared data and queues.
    pub vm_id: String,
    /// Common to all threads.
    pub shared: Arc<Shared>,
    /// The shared data of this `vm_id`.
    pub space: Arc<Space>,
    /// The code that embeds this virtual machine.
    pub embedder: Rc<dyn Embedder>,
    /// Where events of queues go, and which virtual machine of the thread this is.
    pub mailbox: Option<(Sender<QueueEvent>, usize)>,
    /// One per plugin.
    pub roots: Vec<Root>,
    /// Contexts of open exchanges.
    pub streams: HashMap<u32, StreamContext, BuildHasherDefault<IdHasher>>,
    /// What calls act on.
    pub active: Active,
    /// What was entered; the active context falls back to it.
    pub entered: Active,
    /// What happens after the call.
    pub after: Vec<Action>,
    /// Metrics by the guest's numbers.
    pub metrics: Vec<Arc<Metric>>,
    /// The answer of the call-out being delivered.
    pub reply: Option<CallReply>,
    /// Whether a plugin is being configured, which is when its configuration is readable.
    pub configuring: bool,
    /// Where the monotonic clock of the guest starts.
    pub epoch: Instant,
    /// The processor time at the last deadline check, in nanoseconds; see `vm::epoch`.
    pub checked: Option<u64>,
    next_context: u32,
    next_token: u32,
}

impl std::fmt::Debug for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostState")
            .field("name", &self.name)
            .field("streams", &self.streams.len())
            .finish_non_exhaustive()
    }
}

/// What a new [`HostState`] is made of.
#[expect(missing_docs, reason = "the fields are those of HostState")]
pub struct Setup {
    pub name: Arc<str>,
    pub vm_id: String,
    pub limits: StoreLimits,
    pub shared: Arc<Shared>,
    pub space: Arc<Space>,
    pub embedder: Rc<dyn Embedder>,
    pub mailbox: Option<(Sender<QueueEvent>, usize)>,
}

impl HasGuest for HostState {
    fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }
}

impl HostState {
    /// The data of a new store.
    #[must_use]
    pub fn new(of: Setup) -> Self {
        Self {
            guest: Guest::default(),
            limits: of.limits,
            name: of.name,
            vm_id: of.vm_id,
            shared: of.shared,
            space: of.space,
            embedder: of.embedder,
            mailbox: of.mailbox,
            roots: Vec::new(),
            streams: HashMap::default(),
            active: Active::None,
            entered: Active::None,
            after: Vec::new(),
            metrics: Vec::new(),
            reply: None,
            configuring: false,
            epoch: Instant::now(),
            checked: None,
            next_context: 0,
            next_token: 0,
        }
    }

    /// A number no living context has.
    pub fn new_context(&mut self) -> u32 {
        loop {
            self.next_context = self.next_context.wrapping_add(1).max(1);
            let id = self.next_context;
            if !self.streams.contains_key(&id) && !self.roots.iter().any(|root| root.id == id) {
                return id;
            }
        }
    }

    /// A number no living call-out has.
    pub const fn new_token(&mut self) -> u32 {
        self.next_token = self.next_token.wrapping_add(1);
        self.next_token
    }

    /// The exchange calls act on.
    ///
    /// # Errors
    /// `BadArgument` in a root context.
    pub fn stream(&self) -> Result<&StreamContext, Status> {
        match &self.active {
            Active::Stream(context) => Ok(context),
            _ => Err(Status::BadArgument),
        }
    }

    /// The plugin calls act for, by position.
    ///
    /// # Errors
    /// `BadArgument` while the module is being started.
    pub fn root(&self) -> Result<usize, Status> {
        match &self.active {
            Active::None => Err(Status::BadArgument),
            Active::Root(root) => Ok(*root),
            Active::Stream(context) => Ok(context.root),
        }
    }

    /// The plugin calls act for.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        self.roots.get(self.root().ok()?).map(|root| &root.plugin)
    }

    /// Makes `id` the active context; an unknown one means the context that was entered.
    pub fn activate(&mut self, id: u32) {
        self.active = if let Some(context) = self.streams.get(&id) {
            Active::Stream(context.clone())
        } else if let Some(root) = self.roots.iter().position(|root| root.id == id) {
            Active::Root(root)
        } else {
            self.entered.clone()
        };
    }

    /// Keeps `action` for after the call.
    ///
    /// # Errors
    /// `InternalFailure` when there are [`ACTIONS_MAX`].
    pub fn later(&mut self, action: Action) -> Result<(), Status> {
        if self.after.len() >= ACTIONS_MAX {
            return Err(Status::InternalFailure);
        }
        self.after.push(action);
        Ok(())
    }

    /// Calls `f` with the header map of `kind`.
    ///
    /// # Errors
    /// `NotFound` when there is no such map now: request headers are gone once the request left for a worker.
    pub fn with_map<R>(&mut self, kind: MapKind, f: impl FnOnce(&mut Map<'_>) -> R) -> Result<R, Status> {
        match kind {
            MapKind::CallHeaders => {
                let reply = self.reply.as_mut().ok_or(Status::NotFound)?;
                return reply
                    .head
                    .as_mut()
                    .map(|head| f(&mut Map::Response(head)))
                    .ok_or(Status::NotFound);
            }
            MapKind::CallTrailers => {
                let reply = self.reply.as_mut().ok_or(Status::NotFound)?;
                return Ok(f(&mut Map::Fields(&mut reply.trailers)));
            }
            _ => {}
        }
        let mut state = self.stream()?.stream.state();
        let map = match kind {
            MapKind::RequestHeaders => state.request.as_mut().map(Map::Request),
            MapKind::ResponseHeaders => state.response.as_mut().map(Map::Response),
            MapKind::RequestTrailers => state.request_trailers.as_mut().map(Map::Fields),
            MapKind::ResponseTrailers => state.response_trailers.as_mut().map(Map::Fields),
            MapKind::CallHeaders | MapKind::CallTrailers => None,
        };
        map.map(|mut map| f(&mut map)).ok_or(Status::NotFound)
    }

    /// The stream body that `direction` names, if that is the one at hand.
    ///
    /// # Errors
    /// `NotFound` outside of that body's callback.
    pub fn with_body<R>(
        &self,
        direction: Direction,
        f: impl FnOnce(&mut bytes::BytesMut) -> R,
    ) -> Result<R, Status> {
        let mut state = self.stream()?.stream.state();
        match &mut state.body {
            Some((at_hand, bytes)) if *at_hand == direction => Ok(f(bytes)),
            _ => Err(Status::NotFound),
        }
    }
}
