//! The configuration, read from one TOML file: every problem is reported at once, each with its key.
//!
//! ```text
//! file (text) ── toml ──► Table ── reader ──► resolve ──► Config
//! ```
//! Each part of the proxy declares what it wants to be told (`Route`, `ClusterSettings`, `Plugin`); this room only
//! fills it in. Unknown keys are problems. Modules named by a path are read; binding, connecting and starting are left
//! to `proxy`.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::route::Route;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::settings::ClusterSettings;
use crate::wasm::plugin::Plugin;

pub mod builtin;
mod reader;
mod resolve;
pub mod units;

/// Everything the proxy needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Threads and timeouts.
    pub server: Server,
    /// Where clients come in.
    pub listeners: Vec<SocketAddr>,
    /// Where the core is; what filters call `limpet_core`.
    pub core: Option<Endpoint>,
    /// Groups of workers.
    pub clusters: Vec<ClusterSettings>,
    /// Which request goes to which cluster; the longest prefix first.
    pub routes: Vec<Route>,
    /// The filters, in the order of the file.
    pub filters: Vec<Plugin>,
    /// Where health and metrics are served.
    pub admin: Option<SocketAddr>,
}

/// Threads and timeouts.
#[derive(Debug, Clone)]
pub struct Server {
    /// One event loop each.
    pub threads: usize,
    /// How long requests may take to finish once the proxy stops.
    pub drain: Duration,
    /// How long a request head may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may be unused.
    pub idle_timeout: Duration,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, as in `cluster[0].workers[1].url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.key, self.what)
        }
    }
}

/// Why a configuration is refused: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Problem>);

impl std::error::Error for ConfigError {}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads the file at `path`; relative paths in it start from its folder.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("{} cannot be read: {error}", path.display());
            ConfigError(vec![Problem {
                key: String::new(),
                what,
            }])
        })?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads `text`; relative paths in it start from `folder`.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError(vec![Problem {
                key: String::new(),
                what: error.to_string().trim_end().to_owned(),
            }])
        })?;
        resolve::resolve(table, folder)
    }
}

#[cfg(test)]
mod tests;
