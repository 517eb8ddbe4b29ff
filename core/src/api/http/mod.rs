//! The HTTP API: one encoding of [`crate::service`]. JSON for people and apps, a binary exchange for the filters, text
//! for Prometheus.
//!
//! ```text
//! server ──► route ──► sessions workers filter events status metrics ──► request, reply ──► error
//! ```
//! [`server`] accepts connections and checks the token, [`route`] finds the handler, a handler reads a request, makes
//! one call of the service and writes the reply. Handlers do not know each other. What an operation means, and how
//! long it waits, belongs to the service.

mod error;
mod events;
mod filter;
mod metrics;
mod reply;
mod request;
mod route;
mod server;
mod sessions;
mod status;
mod workers;

pub use server::{Access, Api, Bound, Endpoint, ListenError};
