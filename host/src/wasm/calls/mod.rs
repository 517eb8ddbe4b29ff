//! The host calls, one file per family: `env` of the proxy-wasm 0.2.1 ABI, and `wasi_snapshot_preview1` as far as a
//! program without files needs it.
//!
//! Every call reads its arguments in place, answers a status, and by itself never traps the guest.

use wasmtime::Linker;

use crate::wasm::state::HostState;

mod buffer;
mod clock;
mod context;
mod data;
mod grpc;
mod header;
mod http;
mod log;
mod metric;
mod property;
mod queue;
mod stream;
mod wasi;

/// Links all of them.
///
/// # Errors
/// When a name is linked twice: never, once this has run in a test.
pub fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    buffer::link(linker)?;
    clock::link(linker)?;
    context::link(linker)?;
    data::link(linker)?;
    grpc::link(linker)?;
    header::link(linker)?;
    http::link(linker)?;
    log::link(linker)?;
    metric::link(linker)?;
    property::link(linker)?;
    queue::link(linker)?;
    stream::link(linker)?;
    wasi::link(linker)
}
