//! limpet-core: keeps sessions on every node of a cluster.
//!
//! ```text
//!            filters, apps, people                      other nodes
//!                    │ HTTP on loopback                      │ mutual TLS 1.3
//!                 [api]                                  [net]
//!                    ▼                                       │
//!                [service] ───► [drivers::node] ◄────────────┘
//!                                   │ lock
//!                          [engine]                    nothing below knows a socket or a clock
//!                 ┌────────────┬────┴───────┬──────────┐
//!           [membership] [replication]   [store]    [session]
//! ```
//! Arrows go down only; membership, replication, store and net do not know each other.

pub mod api;
pub mod base;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod drivers;
pub mod engine;
pub mod membership;
pub mod net;
pub mod pki;
pub mod replication;
pub mod service;
pub mod session;
pub mod status;
pub mod store;
pub mod telemetry;
