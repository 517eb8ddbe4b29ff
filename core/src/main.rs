//! The `limpet-core` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    limpet_core::base::allocator::tidy_up_at_once();
    limpet_core::cli::main()
}
