//! Virtual machines: from modules to running guests, and the only way into them.
//!
//! ```text
//! compile ─► template ◄─ machine ◄─ callbacks       limits, epoch: what a guest may use; exports: what it offers
//! ```

mod callbacks; // what is handed to a guest
pub mod compile; // modules to templates
pub mod epoch; // time limits
mod exports; // the callbacks a guest has
pub mod limits; // memory, stack, time
pub mod machine; // one virtual machine: start, enter, take down
pub mod template; // what a machine is started from

#[cfg(test)]
mod tests;

pub use callbacks::OpenContext;
pub use machine::{StartError, Vm};
