//! The `limpet-core` program; everything is in the library.

use std::process::ExitCode;

/// Sessions come and go by the million. An allocator that tidies up all at once, as the system's does, would hold every
/// caller up for a tenth of a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    limpet_core::cli::main()
}
