//! Whole clusters in one process under virtual time: engines as the daemon runs them, a network, clocks and clients
//! that are drawn from one seed, faults that are drawn from it as well, and claims that are checked as it goes.
//!
//! ```text
//! LIMPET_SIM_SEEDS=300 LIMPET_SIM_FROM=0 cargo test --workspace --test sim seeds
//! ```
//! No sockets, no tasks and no files: those are asked about by the tests with real processes.

mod check;
mod client;
mod clock;
mod dial;
mod draw;
mod faults;
mod history;
mod host;
mod links;
mod network;
mod operation;
mod plan;
mod report;
mod rest;
mod run;
mod scale;
mod trace;
mod view;
mod world;
