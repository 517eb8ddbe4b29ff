//! The configuration file: read and checked as a whole, every problem reported at once with its key path.
//!
//! [`section`] reads one table and collects problems, [`resolve`] reads the whole file, and each table has a file of its
//! own, which alone knows its keys. [`change`] decides which keys take effect while the daemon runs. Binding, dialling
//! and creating belong to the daemon.

mod change;
mod listen;
mod log;
mod membership;
mod replication;
mod resolve;
mod section;
mod session;
mod session_server;
mod tls;
mod worker;

use std::path::Path;

use crate::net::identity::CertifiedNode;

pub use change::{Change, changes};
pub use listen::ListenConfig;
pub use log::{LogConfig, LogLevel};
pub use membership::MembershipConfig;
pub use replication::ReplicationConfig;
pub use resolve::Config;
pub use session::SessionConfig;
pub use session_server::SessionServerConfig;
pub use tls::TlsConfig;
pub use worker::WorkerConfig;

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `listen.cluster`, `worker[1].url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what is expected.
    pub sentence: String,
}

/// Every problem of a configuration; the operator can correct the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, Problem { key, sentence }) in self.0.iter().enumerate() {
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, "{}{key}{colon}{sentence}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Reads the file at `path`. Relative paths in it are relative to it.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![Problem {
                key: String::new(),
                sentence: format!("{}: {error}", path.display()),
            }])
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Whom this node's certificate must name.
    #[must_use]
    pub fn certified_node(&self) -> CertifiedNode {
        CertifiedNode {
            cluster: self.cluster.clone(),
            node: self.node.to_string(),
        }
    }

    /// Reads `text`; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Problems> {
        resolve::resolve(text, base)
    }
}
