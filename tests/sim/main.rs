//! The simulator: whole clusters in one process under virtual time. Engines and link keepers are those of the daemon; the
//! network, the clocks, the clients and the faults are drawn from one seed, and claims are checked as it goes.
//!
//! ```text
//! LIMPET_SIM_SEEDS=300 LIMPET_SIM_FROM=0 cargo test --workspace --test sim seeds
//! ```
//! Sockets, tasks and files are left to the tests with real processes.

mod check;
mod client;
mod clock;
mod copies;
mod dial;
mod draw;
mod due;
mod faults;
mod fresh;
mod history;
mod host;
mod joined;
mod leave;
mod lineage;
mod links;
mod majority;
mod network;
mod operation;
mod plan;
mod propose;
mod rename;
mod report;
mod rest;
mod run;
mod scale;
mod trace;
mod view;
mod world;
