//! Limpet's reverse proxy: hyper on both sides, proxy-wasm filters in wasmtime between them.
//!
//! One thread per processor, each with its own event loop, virtual machines, workers and connections; a request is
//! served on the thread that accepted it, from socket to socket:
//!
//! ```text
//! main ─► cli ─► proxy ─┬► server ─► pipeline ─┬► wasm       config: the file      client: facts of the client,
//!                       ├► admin               ├► upstream ─► balance               waits of its exchanges
//!                       └► config              ├► route      rescue: every error   message: rules for HTTP messages
//!                                              └► rescue             is one answer telemetry, supervise
//! ```
//! Arrows go one way. `client`, `message`, `telemetry` and `supervise` are the floor: they import no other room.
//! Sessions, cookies and tokens are left to filters: a filter decides where a request belongs, and this proxy obeys
//! what it writes into `x-limpet-destination`.

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
pub mod supervise;
pub mod telemetry;
pub mod upstream;
pub mod wasm;
