//! The harness: starts the real programs on loopback, asks them questions, and stops exactly what it started.
//!
//! Nothing here re-implements a part of the product. Programs are found in `LIMPET_BIN_DIR` or beside the running
//! test binary, are configured by files as an operator would write them, and are observed from outside: replies,
//! logs, exit codes. Waiting is polling with a deadline ([`wait`]), never a bare sleep.

pub mod api;
pub mod client;
pub mod clocks;
pub mod cluster;
pub mod envoy;
pub mod events;
pub mod fleet;
pub mod fuzz;
pub mod http;
pub mod load;
pub mod namespace;
pub mod pki;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod random;
pub mod scratch;
pub mod tls;
pub mod wait;
pub mod worker;
pub mod writers;
