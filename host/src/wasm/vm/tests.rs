//! Guests that ask for much within one call, and embedders that enter them at once or panic.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Vm, compile};
use crate::wasm::plugin::{OnFailure, Plugin};
use crate::wasm::shared::Shared;
use crate::wasm::state::actions::Callout;
use crate::wasm::state::embedder::{Embedder, NotRunning, RootContexts};

/// Asks, within one tick: a timer, a call-out, another timer.
const GUEST: &str = r#"
(module
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $depth (mut i32) (i32.const 0))
  (global $ticks (mut i32) (i32.const 0))
  (data (i32.const 210) "side")
  (data (i32.const 300) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\01\00\00\00:method\00GET\00:path\00/side\00:authority\00a\00")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_tick") (param i32)
    ;; Entered while it runs: it would see its own depth.
    (if (global.get $depth) (then unreachable))
    (global.set $depth (i32.const 1))
    (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
    (if (i32.eq (global.get $ticks) (i32.const 1)) (then
      (if (call $tick (i32.const 10)) (then unreachable))
      (if (call $call (i32.const 210) (i32.const 4) (i32.const 300) (i32.const 65) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 60)) (then unreachable))
      (if (call $tick (i32.const 20)) (then unreachable))))
    (global.set $depth (i32.const 0))))
"#;

/// Writes down what it is asked, and ticks the guest again each time.
#[derive(Debug, Default)]
struct Eager(RefCell<Vec<String>>);

impl Eager {
    fn note(&self, vm: Rc<dyn RootContexts>, generation: u32, what: String) {
        self.0.borrow_mut().push(what);
        vm.tick(generation, 0).unwrap();
    }
}

impl Embedder for Eager {
    fn knows(&self, cluster: &str) -> bool {
        cluster == "side"
    }

    fn call(&self, vm: Rc<dyn RootContexts>, generation: u32, call: Callout) {
        self.note(
            vm,
            generation,
            format!("call {} {}", call.cluster, call.head.path),
        );
    }

    fn set_timer(&self, vm: Rc<dyn RootContexts>, generation: u32, _: usize, period: Duration) {
        self.note(vm, generation, format!("tick {period:?}"));
    }
}

fn plugin(text: &str) -> Plugin {
    Plugin {
        name: "guest".into(),
        module: Bytes::from(wat::parse_str(text).unwrap()),
        root_id: String::new(),
        vm_id: String::new(),
        config: Bytes::new(),
        on_failure: OnFailure::Closed,
        body: true,
        memory: 1 << 20,
        deadline: Duration::from_millis(50),
    }
}

fn vm(embedder: Rc<dyn Embedder>, text: &str) -> Rc<Vm> {
    let chain = compile::compile(&[plugin(text)], &Arc::new(Shared::default())).unwrap();
    Vm::new(Arc::clone(&chain.vms[0]), embedder, None, Arc::default())
}

#[test]
fn what_a_call_asks_for_happens_after_it_in_order() {
    let embedder = Rc::new(Eager::default());
    let vm = vm(embedder.clone(), GUEST);
    vm.start().unwrap();
    Rc::clone(&vm).tick(1, 0).unwrap();
    assert_eq!(
        *embedder.0.borrow(),
        ["tick 10ms", "call side /side", "tick 20ms"]
    );
}

#[test]
fn a_module_without_the_abi_or_with_unknown_imports_is_refused() {
    let compile = |text| {
        compile::compile(&[plugin(text)], &Arc::new(Shared::default()))
            .unwrap_err()
            .to_string()
    };
    let error = compile("(module)");
    assert!(
        error.contains("filter[0]") && error.contains("proxy_abi_version_0_2_1"),
        "{error}"
    );
    let error =
        compile(r#"(module (import "env" "no_such_call" (func)) (func (export "proxy_abi_version_0_2_1")))"#);
    assert!(error.contains("no_such_call"), "{error}");
}

/// An embedder that panics when a guest names a cluster.
#[derive(Debug, Default)]
struct Faulty;

impl Embedder for Faulty {
    fn knows(&self, _: &str) -> bool {
        panic!("a bug in a host call");
    }

    fn call(&self, _: Rc<dyn RootContexts>, _: u32, _: Callout) {}

    fn set_timer(&self, _: Rc<dyn RootContexts>, _: u32, _: usize, _: Duration) {}
}

#[test]
fn a_machine_in_which_the_host_panicked_is_not_used_again() {
    let vm = vm(Rc::new(Faulty), GUEST);
    vm.start().unwrap();
    let generation = vm.generation();
    let entered = std::panic::AssertUnwindSafe(|| Rc::clone(&vm).tick(generation, 0));
    assert!(std::panic::catch_unwind(entered).is_err());
    assert_ne!(
        vm.generation(),
        generation,
        "it was taken down half-way through a call"
    );
    assert_eq!(Rc::clone(&vm).tick(vm.generation(), 0), Err(NotRunning));
    vm.start().unwrap();
    assert!(vm.ready(), "it starts again");
}

#[test]
fn a_machine_that_knew_a_rebuilt_table_starts_again() {
    let shared = Arc::new(Shared::default());
    let chain = compile::compile(&[plugin(GUEST)], &shared).unwrap();
    let vm = Vm::new(
        Arc::clone(&chain.vms[0]),
        Rc::new(Eager::default()),
        None,
        Arc::default(),
    );
    vm.start().unwrap();
    let before = vm.generation();
    assert!(vm.ready() && vm.generation() == before, "nothing happened");
    shared.metrics.poison();
    assert!(
        vm.ready() && vm.generation() == before,
        "nobody has met the lock yet"
    );
    shared.print(&mut String::new());
    assert!(vm.ready(), "it starts at once");
    assert_ne!(vm.generation(), before);
    let now = vm.generation();
    assert!(vm.ready() && vm.generation() == now, "once");
}
