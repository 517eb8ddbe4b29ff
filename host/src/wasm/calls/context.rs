//! Host calls on contexts: `proxy_set_effective_context`, `proxy_done`, `proxy_call_foreign_function`,
//! `proxy_get_status`.
//!
//! An effective context that is gone means the one that was entered, as in Envoy, so that an answer for an exchange
//! that has ended does no harm. There are no foreign functions. Statuses belong to gRPC, which is not served; see
//! `grpc`.

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Span, put_u32, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_set_effective_context",
        |mut caller: Caller<'_, HostState>, id: u32| {
            caller.data_mut().activate(id);
            code(Ok(()))
        },
    )?;
    linker.func_wrap("env", "proxy_done", |_: Caller<'_, HostState>| {
        // Contexts end with their exchange and root contexts with the process; nothing waits for a guest.
        code(Ok(()))
    })?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |mut caller: Caller<'_, HostState>, name: u32, name_len: u32, _: u32, _: u32, _: u32, _: u32| {
            code(split(&mut caller).and_then(|(memory, _)| {
                Span(name, name_len).of(memory)?;
                Err(Status::NotFound)
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_status",
        |mut caller: Caller<'_, HostState>, number: u32, message: u32, message_len: u32| {
            code(split(&mut caller).and_then(|(memory, _)| {
                put_u32(memory, number, 0)?;
                put_u32(memory, message, 0)?;
                put_u32(memory, message_len, 0)
            }))
        },
    )?;
    Ok(())
}
