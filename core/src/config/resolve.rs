//! The resolved configuration: from the file as written to what the daemon needs, table by table.
//!
//! The keys, defaults and bounds of each table are in the file that is named like it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Table;

use super::section::Section;
use super::{
    ListenConfig, LogConfig, MembershipConfig, Problem, Problems, ReplicationConfig, SessionConfig,
    SessionServerConfig, TlsConfig, WorkerConfig, listen, log, membership, replication, session,
    session_server, tls, worker,
};
use crate::base::id::NodeId;

/// What the daemon needs to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// Its domain; empty for none.
    pub domain: String,
    /// Where the daemon keeps what it has to know after a restart; `None` for nowhere.
    pub state_dir: Option<PathBuf>,
    /// `[listen]`.
    pub listen: ListenConfig,
    /// `[tls]`.
    pub tls: TlsConfig,
    /// `[membership]`.
    pub membership: MembershipConfig,
    /// `[[worker]]`.
    pub workers: Vec<WorkerConfig>,
    /// `[replication]`.
    pub replication: ReplicationConfig,
    /// `[session]`.
    pub session: SessionConfig,
    /// `[session_server]`.
    pub session_server: SessionServerConfig,
    /// `[log]`.
    pub log: LogConfig,
}

pub(super) fn resolve(text: &str, base: &Path) -> Result<Config, Problems> {
    let table: Table = toml::from_str(text).map_err(|error| {
        Problems(vec![Problem {
            key: String::new(),
            sentence: error.to_string(),
        }])
    })?;
    let problems = Rc::new(RefCell::new(Vec::new()));
    let config = read(Section::root(table, &problems), base);
    let mut found = problems.take();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => {
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Err(Problems(found))
        }
    }
}

/// Reads everything, so that every problem is found; `None` only if something required is missing.
fn read(mut root: Section, base: &Path) -> Option<Config> {
    let mut node = root.section("node");
    let id = name(&mut node, "id", "\"node1\"");
    let cluster = name(&mut node, "cluster", "\"shop\"");
    let domain = node.string("domain").unwrap_or_default();
    if !domain.is_empty() && NodeId::parse(&domain).is_err() {
        node.problem("domain", "letters, digits, '.', '_' and '-' are expected");
    }
    let state_dir = node.string("state_dir").map(|dir| base.join(dir));
    drop(node);

    let listen = listen::read(&mut root, base);
    let tls = tls::read(&mut root, base, cluster.as_ref(), id.as_ref());
    let membership = membership::read(&mut root, listen.as_ref().map(|listen| listen.cluster));
    let workers = worker::read(&mut root);
    let replication = replication::read(&mut root);
    let session = session::read(&mut root);
    let session_server = session_server::read(&mut root);
    let log = log::read(&mut root);
    Some(Config {
        node: id?,
        cluster: cluster?.as_str().to_owned(),
        domain,
        state_dir,
        listen: listen?,
        tls: tls?,
        membership,
        workers,
        replication,
        session,
        session_server,
        log,
    })
}

fn name(node: &mut Section, key: &str, example: &str) -> Option<NodeId> {
    let text = node.required(key, example)?;
    NodeId::parse(&text)
        .map_err(|error| node.problem(key, error))
        .ok()
}

#[cfg(test)]
pub(super) mod tests;
