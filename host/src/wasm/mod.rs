//! The proxy-wasm host: guests of ABI 0.2.1 in wasmtime, one set of virtual machines per thread.
//!
//! ```text
//! engine    compiles and links once per process          Engine, Linker, InstancePre
//! plugin    what one [[filter]] of the file asks for     Plugin; those with one vm_id and module share a Vm
//! instance  one virtual machine of one thread            enter() is the only way into a guest
//! exports   its callbacks, looked up once
//! context   what a guest's calls act on                  Host: the store's data
//! stream    what guests may see of one exchange          shared with the pipeline
//! after     what a call asked for and happens after it   a VM on the stack is never entered again
//! abi/      numbers, layouts, guest memory: once         calls/  one file per family of host calls
//! shared/   what all threads have in common              data, queues, metrics
//! ```
//! A guest is trusted with nothing: its memory and time are limited, its pointers are checked, and a trap costs one
//! virtual machine, which is made anew. Deliberately absent: sockets (call-outs leave through [`after::Outside`]).

pub mod abi;
pub mod after;
pub mod calls;
pub mod context;
pub mod engine;
mod exports;
pub mod instance;
pub mod limits;
pub mod plugin;
pub mod shared;
pub mod stream;

#[cfg(test)]
mod tests;
