//! Host calls on gRPC, which are linked and not served: starting a call answers `InternalFailure`, which the SDK hands
//! to the filter as an error, and the others answer `NotFound`.

use wasmtime::{Caller, Linker};

use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_grpc_call",
        |_: Caller<'_, HostState>,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32| { code(Err(Status::InternalFailure)) },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_stream",
        |_: Caller<'_, HostState>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            code(Err(Status::InternalFailure))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_send",
        |_: Caller<'_, HostState>, _: u32, _: u32, _: u32, _: u32| code(Err(Status::NotFound)),
    )?;
    for name in ["proxy_grpc_cancel", "proxy_grpc_close"] {
        linker.func_wrap("env", name, |_: Caller<'_, HostState>, _: u32| {
            code(Err(Status::NotFound))
        })?;
    }
    Ok(())
}
