//! The errors of building a proxy, by who has to act: the operator changes the configuration, or the system has to give
//! more.

use std::net::SocketAddr;

use crate::wasm::vm::StartError;
use crate::wasm::vm::compile::EngineError;

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A module is not usable; the operator changes the configuration.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A filter does not start; the operator changes its configuration.
    #[error(transparent)]
    Filter(#[from] StartError),
    /// An address is not to be had.
    #[error("{address} cannot be bound: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no more threads or descriptors.
    #[error("the system refuses a thread: {0}")]
    System(#[from] std::io::Error),
}

impl BuildError {
    /// Whether the configuration is to blame.
    #[must_use]
    pub const fn is_config(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Filter(_))
    }
}
