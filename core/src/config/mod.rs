//! The configuration file: read whole, checked whole, every problem reported at once with its key path.
//!
//! [`section`] walks what was written and collects problems; [`resolve`] reads the file, and each table has a file
//! of its own that alone knows its keys; [`change`] says which of them can change while the daemon runs. Nothing is bound, dialled or created here.

mod change;
mod listen;
mod log;
mod membership;
mod replication;
mod resolve;
mod section;
mod session;
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
pub use tls::TlsConfig;
pub use worker::WorkerConfig;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `listen.cluster`, `worker[1].url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what is expected.
    pub sentence: String,
}

/// Everything wrong with a configuration. The operator mends the file.
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
