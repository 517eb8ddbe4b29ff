//! A guest that asks for much within one call, and an outside that enters it at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::after::{Callout, Outside};
use super::engine;
use super::instance::Vm;
use super::plugin::{OnFailure, Plugin};
use super::shared::Shared;

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
    fn note(&self, vm: &Rc<Vm>, generation: u32, what: String) {
        self.0.borrow_mut().push(what);
        vm.tick(generation, 0).unwrap();
    }
}

impl Outside for Eager {
    fn knows(&self, cluster: &str) -> bool {
        cluster == "side"
    }

    fn call(&self, vm: &Rc<Vm>, generation: u32, call: Callout) {
        self.note(
            vm,
            generation,
            format!("call {} {}", call.cluster, call.head.path),
        );
    }

    fn tick(&self, vm: &Rc<Vm>, generation: u32, _: usize, period: Duration) {
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

fn vm(outside: Rc<dyn Outside>, text: &str) -> Rc<Vm> {
    let program = engine::compile(&[plugin(text)], &Arc::new(Shared::default())).unwrap();
    Vm::new(Arc::clone(&program.blueprints[0]), outside, None, Arc::default())
}

#[test]
fn what_a_call_asks_for_happens_after_it_in_order() {
    let outside = Rc::new(Eager::default());
    let vm = vm(outside.clone(), GUEST);
    vm.start().unwrap();
    vm.tick(1, 0).unwrap();
    assert_eq!(*outside.0.borrow(), ["tick 10ms", "call side /side", "tick 20ms"]);
}

#[test]
fn a_module_without_the_abi_or_with_unknown_imports_is_refused() {
    let compile = |text| {
        engine::compile(&[plugin(text)], &Arc::new(Shared::default()))
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
