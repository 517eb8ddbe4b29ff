//! The callbacks a guest exports, looked up once when it starts: a look-up by name with every call would cost more
//! than the call.

use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use crate::wasm::state::HostState;

type One = TypedFunc<u32, ()>;
type Two = TypedFunc<(u32, u32), ()>;
type TwoAnswered = TypedFunc<(u32, u32), u32>;
type ThreeAnswered = TypedFunc<(u32, u32, u32), u32>;
type Five = TypedFunc<(u32, u32, u32, u32, u32), ()>;

/// The callbacks a guest has; each may be absent.
pub(super) struct Exports {
    pub(super) context_create: Option<Two>,
    pub(super) vm_start: Option<TwoAnswered>,
    pub(super) configure: Option<TwoAnswered>,
    pub(super) tick: Option<One>,
    pub(super) queue_ready: Option<Two>,
    pub(super) headers: [Option<ThreeAnswered>; 2],
    pub(super) body: [Option<ThreeAnswered>; 2],
    pub(super) trailers: [Option<TwoAnswered>; 2],
    pub(super) call_response: Option<Five>,
    pub(super) done: Option<TypedFunc<u32, u32>>,
    pub(super) log: Option<One>,
    pub(super) delete: Option<One>,
}

impl Exports {
    pub(super) fn of(instance: &Instance, store: &mut Store<HostState>) -> Self {
        Self {
            context_create: function(instance, store, "proxy_on_context_create"),
            vm_start: function(instance, store, "proxy_on_vm_start"),
            configure: function(instance, store, "proxy_on_configure"),
            tick: function(instance, store, "proxy_on_tick"),
            queue_ready: function(instance, store, "proxy_on_queue_ready"),
            headers: [
                function(instance, store, "proxy_on_request_headers"),
                function(instance, store, "proxy_on_response_headers"),
            ],
            body: [
                function(instance, store, "proxy_on_request_body"),
                function(instance, store, "proxy_on_response_body"),
            ],
            trailers: [
                function(instance, store, "proxy_on_request_trailers"),
                function(instance, store, "proxy_on_response_trailers"),
            ],
            call_response: function(instance, store, "proxy_on_http_call_response"),
            done: function(instance, store, "proxy_on_done"),
            log: function(instance, store, "proxy_on_log"),
            delete: function(instance, store, "proxy_on_delete"),
        }
    }
}

/// An export of the expected type; one of another type counts as absent.
pub(super) fn function<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<HostState>,
    name: &str,
) -> Option<TypedFunc<P, R>> {
    instance.get_typed_func(&mut *store, name).ok()
}

/// Calls `f` if the guest has it.
pub(super) fn call<P: WasmParams, R: WasmResults>(
    f: &Option<TypedFunc<P, R>>,
    store: &mut Store<HostState>,
    arguments: P,
) -> wasmtime::Result<Option<R>> {
    f.as_ref().map(|f| f.call(store, arguments)).transpose()
}
