//! Compiling and linking, once per process.
//!
//! Guests are optimised up front and interrupted by epochs. An epoch that passed is only a hint: on a busy machine
//! the thread may simply not have run, so the processor time of the thread decides, and a guest is stopped when it
//! really computed for its deadline since the first hint.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Config, Engine, InstancePre, Linker, Module, OptLevel, Strategy, UpdateDeadline};

use crate::wasm::calls;
use crate::wasm::context::Host;
use crate::wasm::limits::{EPOCH, GUEST_STACK, epochs};
use crate::wasm::plugin::Plugin;
use crate::wasm::shared::Shared;
use crate::wasm::shared::data::Space;

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

/// Everything compiled: the plan of a chain of filters.
#[derive(Debug)]
pub struct Program {
    /// The virtual machines each thread has.
    pub blueprints: Vec<Arc<Blueprint>>,
    /// The filters in order: which virtual machine, which plugin on it.
    pub seats: Vec<Seat>,
}

/// Where a filter of the chain runs.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    /// The virtual machine, by position.
    pub vm: usize,
    /// The plugin on it, by position.
    pub root: usize,
}

/// How a virtual machine is made.
pub struct Blueprint {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Scopes shared data and queues.
    pub vm_id: String,
    /// The module, with every import resolved.
    pub pre: InstancePre<Host>,
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

impl std::fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blueprint")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Compiles and links what `plugins` name. Those with one `vm_id` and one module share a virtual machine, whose
/// limits are the widest of theirs.
///
/// # Errors
/// See [`EngineError`].
pub fn compile(plugins: &[Plugin], shared: &Arc<Shared>) -> Result<Program, EngineError> {
    let mut program = Program {
        blueprints: Vec::new(),
        seats: Vec::new(),
    };
    if plugins.is_empty() {
        return Ok(program);
    }
    let engine = Engine::new(&config()).map_err(EngineError::Engine)?;
    let mut linker = Linker::new(&engine);
    calls::link(&mut linker).map_err(EngineError::Engine)?;
    let mut linked: HashMap<&[u8], InstancePre<Host>> = HashMap::new();
    for (index, plugin) in plugins.iter().enumerate() {
        let known = program
            .blueprints
            .iter()
            .position(|b| b.vm_id == plugin.vm_id && b.plugins.iter().any(|p| p.module == plugin.module));
        if let Some(vm) = known {
            let Some(blueprint) = program.blueprints.get_mut(vm).and_then(Arc::get_mut) else {
                continue;
            };
            program.seats.push(Seat {
                vm,
                root: blueprint.plugins.len(),
            });
            blueprint.memory = blueprint.memory.max(plugin.memory);
            blueprint.deadline = blueprint.deadline.max(plugin.deadline);
            blueprint.plugins.push(Arc::new(plugin.clone()));
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
        program.seats.push(Seat {
            vm: program.blueprints.len(),
            root: 0,
        });
        program.blueprints.push(Arc::new(Blueprint {
            name: plugin.name.as_str().into(),
            vm_id: plugin.vm_id.clone(),
            pre,
            plugins: vec![Arc::new(plugin.clone())],
            memory: plugin.memory,
            deadline: plugin.deadline,
            shared: Arc::clone(shared),
            space: shared.data.of(&plugin.vm_id),
        }));
    }
    start_epochs(&engine).map_err(|error| EngineError::Engine(error.into()))?;
    Ok(program)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK)
        // Machines start seldom and call through tables with every request.
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

/// The thread that advances the epoch ends with the engine.
fn start_epochs(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("epoch".into())
        .stack_size(64 << 10)
        .spawn(move || {
            loop {
                std::thread::sleep(EPOCH);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
    Ok(())
}

/// Decides what happens when the epochs of a call have passed: see the page.
pub(crate) fn on_epoch(host: &mut Host, deadline: Duration) -> wasmtime::Result<UpdateDeadline> {
    let now = processor_time();
    let allowed = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    match host.checked {
        Some(before) if now.saturating_sub(before) >= allowed => {
            Err(wasmtime::Error::new(DeadlinePassed(deadline)))
        }
        Some(_) => Ok(UpdateDeadline::Continue(1)),
        None => {
            host.checked = Some(now);
            Ok(UpdateDeadline::Continue(epochs(deadline)))
        }
    }
}

/// A call that lasted too long.
#[derive(Debug, thiserror::Error)]
#[error("the filter did not return within {0:?}")]
pub struct DeadlinePassed(Duration);

fn processor_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec
        .unsigned_abs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec.unsigned_abs())
}
