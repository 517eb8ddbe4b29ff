//! The template of a virtual machine: a compiled module and the plugins on it, from which every thread starts its own.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::InstancePre;

use crate::wasm::plugin::Plugin;
use crate::wasm::shared::Shared;
use crate::wasm::shared::data::Space;
use crate::wasm::state::HostState;

/// How a virtual machine is started.
pub struct VmTemplate {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Scopes shared data and queues.
    pub vm_id: String,
    /// The module, with every import resolved.
    pub pre: InstancePre<HostState>,
    /// Its plugins.
    pub plugins: Vec<Arc<Plugin>>,
    /// The most memory, in bytes.
    pub memory: usize,
    /// The longest call.
    pub deadline: Duration,
    /// Common to all threads.
    pub shared: Arc<Shared>,
    /// The shared data of its `vm_id`.
    pub space: Arc<Space>,
}

impl std::fmt::Debug for VmTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VmTemplate")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
