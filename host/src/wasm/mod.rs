//! The proxy-wasm host: filters of ABI 0.2.1 run as guests in wasmtime, one set of virtual machines per thread.
//!
//! ```text
//! vm ─► calls ─► state ─┬► stream ─► abi
//!                       └► shared ─► abi        plugin: what the configuration says about one filter
//! ```
//! - `abi` is the binary interface: numbers, layouts, guest memory.
//! - `stream` is what filters may see and change of one exchange; the pipeline owns it.
//! - `shared` is what the guests of all threads have in common: data, queues, metrics.
//! - `state` is what host calls act on: the data of a wasmtime store, and the actions that wait for a call to return.
//! - `calls` are the host calls, one file per family.
//! - `vm` compiles modules, starts virtual machines, and is the only way into a guest.
//!
//! A guest is not trusted: its memory and time are limited, its pointers are checked, and a trap costs one virtual
//! machine, which is started again. Sockets are left to others: call-outs leave through [`state::embedder::Embedder`].

pub mod abi;
pub mod calls;
pub mod plugin;
pub mod shared;
pub mod state;
pub mod stream;
pub mod vm;
