//! Host calls on queues: `proxy_register_shared_queue`, `proxy_resolve_shared_queue`, `proxy_enqueue_shared_queue`,
//! `proxy_dequeue_shared_queue`.

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Out, Span, give_bytes, put_u32, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |mut caller: Caller<'_, HostState>, name: u32, len: u32, out: u32| {
            code(register(&mut caller, Span(name, len), out))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_resolve_shared_queue",
        |mut caller: Caller<'_, HostState>, vm: u32, vm_len: u32, name: u32, name_len: u32, out: u32| {
            code(resolve(&mut caller, Span(vm, vm_len), Span(name, name_len), out))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |mut caller: Caller<'_, HostState>, id: u32, item: u32, len: u32| {
            code(
                split(&mut caller)
                    .and_then(|(memory, host)| host.shared.queues.add(id, Span(item, len).of(memory)?)),
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |mut caller: Caller<'_, HostState>, id: u32, out: u32, out_len: u32| {
            let taken = caller.data().shared.queues.take(id);
            code(taken.and_then(|item| give_bytes(&mut caller, &item, Out(out, out_len))))
        },
    )?;
    Ok(())
}

fn register(caller: &mut Caller<'_, HostState>, name: Span, out: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let root = host.root()?;
    let mailbox = host.mailbox.clone().map(|(sender, vm)| (sender, vm, root));
    let id = host
        .shared
        .queues
        .register(&host.vm_id, name.of(memory)?, mailbox)?;
    put_u32(memory, out, id)
}

fn resolve(caller: &mut Caller<'_, HostState>, vm: Span, name: Span, out: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let vm_id = std::str::from_utf8(vm.of(memory)?).map_err(|_| Status::BadArgument)?;
    let id = host
        .shared
        .queues
        .resolve(vm_id, name.of(memory)?)
        .ok_or(Status::NotFound)?;
    put_u32(memory, out, id)
}
