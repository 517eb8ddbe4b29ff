//! The `limpet-core` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    limpet_core::cli::main()
}
