//! The command `limpet-host`. Everything is in the library.

use std::process::ExitCode;

/// Header maps and buffers come and go with every request; this allocator makes that cheap.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    limpet_host::cli::main()
}
