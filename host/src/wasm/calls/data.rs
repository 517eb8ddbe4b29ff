//! Host calls on shared data: `proxy_get_shared_data`, `proxy_set_shared_data`.

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Out, Span, give_bytes, put_u32, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut caller: Caller<'_, HostState>, key: u32, key_len: u32, out: u32, out_len: u32, number: u32| {
            code(get(&mut caller, Span(key, key_len), Out(out, out_len), number))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut caller: Caller<'_, HostState>,
         key: u32,
         key_len: u32,
         value: u32,
         value_len: u32,
         number: u32| {
            code(set(
                &mut caller,
                Span(key, key_len),
                Span(value, value_len),
                number,
            ))
        },
    )?;
    Ok(())
}

fn get(caller: &mut Caller<'_, HostState>, key: Span, out: Out, number_at: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let (value, number) = host.space.get(key.of(memory)?).ok_or(Status::NotFound)?;
    give_bytes(caller, &value, out)?;
    let (memory, _) = split(caller)?;
    put_u32(memory, number_at, number)
}

fn set(caller: &mut Caller<'_, HostState>, key: Span, value: Span, number: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    host.space.set(key.of(memory)?, value.of(memory)?, number)
}
