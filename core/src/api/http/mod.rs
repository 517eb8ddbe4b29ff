//! The HTTP API: JSON for people and apps, a binary exchange for the filters, metrics for Prometheus.
//!
//! [`server`] accepts, [`route`] finds the handler, and [`reply`] is the one place where refusals become answers.

mod events;
mod filter;
mod metrics;
mod peers;
mod reply;
mod route;
mod server;
mod sessions;
mod status;
mod workers;

pub use server::{Api, Bound, Endpoint, ListenError, Settings};
