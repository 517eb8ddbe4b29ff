//! Compiling and linking the modules of a chain of filters, once per process.
//!
//! Plugins with one `vm_id` and one module share a virtual machine. Starting machines is left to `machine`, time
//! limits to `epoch`.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{Config, Engine, InstancePre, Linker, Module, OptLevel, Strategy};

use super::limits::GUEST_STACK;
use super::template::VmTemplate;
use crate::wasm::calls;
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::Shared;
use crate::wasm::shared::data::Space;
use crate::wasm::state::HostState;

/// Why modules cannot be used. The operator changes the configuration or the module.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This machine cannot run wasmtime as configured.
    #[error("the WebAssembly engine does not start")]
    Engine(#[source] wasmtime::Error),
    /// Not a module, or one that needs something this host does not have.
    #[error("filter[{index}]: {name} is not a usable module: {reason}")]
    Module {
        /// The filter's place in the configuration.
        index: usize,
        /// The filter's name.
        name: String,
        /// What the engine says.
        reason: String,
    },
}

/// A chain of filters, compiled.
#[derive(Debug, Default)]
pub struct CompiledChain {
    /// The virtual machines each thread has.
    pub vms: Vec<Arc<VmTemplate>>,
    /// The filters in order.
    pub entries: Vec<ChainEntry>,
    /// Runs all of them; `None` without filters.
    pub engine: Option<Engine>,
}

/// Where a filter of the chain runs.
#[derive(Debug, Clone, Copy)]
pub struct ChainEntry {
    /// The virtual machine, by position.
    pub vm: usize,
    /// The plugin on it, by position.
    pub root: usize,
}

/// Compiles and links what `plugins` name. Those with one `vm_id` and one module share a virtual machine, whose
/// limits are the widest of theirs.
///
/// # Errors
/// See [`EngineError`].
pub fn compile(plugins: &[Plugin], shared: &Arc<Shared>) -> Result<CompiledChain, EngineError> {
    let mut chain = CompiledChain::default();
    if plugins.is_empty() {
        return Ok(chain);
    }
    let engine = Engine::new(&config()).map_err(EngineError::Engine)?;
    let mut linker = Linker::new(&engine);
    calls::link(&mut linker).map_err(EngineError::Engine)?;
    let mut linked: HashMap<&[u8], InstancePre<HostState>> = HashMap::new();
    let mut spaces: HashMap<&str, Arc<Space>> = HashMap::new();
    for (index, plugin) in plugins.iter().enumerate() {
        let known = chain
            .vms
            .iter()
            .position(|b| b.vm_id == plugin.vm_id && b.plugins.iter().any(|p| p.module == plugin.module));
        if let Some(vm) = known {
            let Some(template) = chain.vms.get_mut(vm).and_then(Arc::get_mut) else {
                continue;
            };
            chain.entries.push(ChainEntry {
                vm,
                root: template.plugins.len(),
            });
            template.memory = template.memory.max(plugin.memory);
            template.deadline = template.deadline.max(plugin.deadline);
            template.plugins.push(Arc::new(plugin.clone()));
            continue;
        }
        let pre = match linked.get(&*plugin.module) {
            Some(pre) => pre.clone(),
            None => {
                let pre = Module::new(&engine, &plugin.module)
                    .and_then(|module| {
                        check_version(&module)?;
                        linker.instantiate_pre(&module)
                    })
                    .map_err(|error| EngineError::Module {
                        index,
                        name: plugin.name.clone(),
                        reason: format!("{error:#}"),
                    })?;
                linked.insert(&plugin.module, pre.clone());
                pre
            }
        };
        chain.entries.push(ChainEntry {
            vm: chain.vms.len(),
            root: 0,
        });
        chain.vms.push(Arc::new(VmTemplate {
            name: plugin.name.as_str().into(),
            vm_id: plugin.vm_id.clone(),
            pre,
            plugins: vec![Arc::new(plugin.clone())],
            memory: plugin.memory,
            deadline: plugin.deadline,
            shared: Arc::clone(shared),
            space: Arc::clone(spaces.entry(&plugin.vm_id).or_insert_with(|| shared.space())),
        }));
    }
    chain.engine = Some(engine);
    Ok(chain)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        // Machines start rarely and call through tables with every request.
        .table_lazy_init(false)
        .native_unwind_info(false);
    config
}

/// A module says which ABI it speaks by exporting a name. Any of the 0.2 series is served.
fn check_version(module: &Module) -> wasmtime::Result<()> {
    let speaks = |name: &str| module.exports().any(|export| export.name() == name);
    if speaks("proxy_abi_version_0_2_1") || speaks("proxy_abi_version_0_2_0") {
        Ok(())
    } else {
        Err(wasmtime::Error::msg("it does not export proxy_abi_version_0_2_1"))
    }
}
