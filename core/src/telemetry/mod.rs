//! What an operator reads while the daemon runs. Metrics are an answer of the API and live there.

pub mod log;
