//! Limpet's reverse proxy: hyper on both sides, proxy-wasm filters in wasmtime between them.
//!
//! One thread per processor, each with its own event loop, virtual machines, workers and connections; a request is
//! served on the thread that accepted it, from socket to socket:
//!
//! ```text
//! main ─► proxy ─┬► server ─► pipeline ─┬► wasm ─► message        telemetry: counters and log lines
//!                └► admin               ├► route ─► message       rescue: every error, one answer
//!                                       ├► balance                config: the file
//!                                       └► upstream ─► balance
//! ```
//! Deliberately absent: sessions, cookies and tokens. Whom a request belongs to is a filter's decision; this proxy
//! honours what it writes into `x-limpet-destination`.

pub mod admin;
pub mod balance;
pub mod cli;
pub mod client;
pub mod config;
pub mod message;
pub mod pipeline;
pub mod proxy;
pub mod rescue;
pub mod route;
pub mod server;
pub mod telemetry;
pub mod upstream;
pub mod wasm;
