//! From what was written to what the daemon needs: every key, its default and its bounds.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use limpet_wire::report::IdleLimit;
use toml::Table;

use super::section::Section;
use super::units;
use super::{Problem, Problems};
use crate::api::http::Endpoint;
use crate::base::id::NodeId;
use crate::base::limits::WORKERS_MAX;
use crate::net::identity::CertifiedNode;
use crate::net::tls::{Tls, TlsFiles};
use crate::replication::acks::Level;

/// What the daemon needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: String,
    /// Its domain; empty for none.
    pub domain: String,
    /// Where other nodes connect to.
    pub listen: SocketAddr,
    /// How many ports after that one are tried when it is taken.
    pub autobind: u16,
    /// Where the API listens.
    pub api: Vec<Endpoint>,
    /// Wanted on API addresses that are not loopback.
    pub api_token: Option<String>,
    /// The certificates.
    pub tls: TlsFiles,
    /// Whom to dial first.
    pub seeds: Vec<String>,
    /// How often a member is probed.
    pub probe_interval: Duration,
    /// How long a member may be silent.
    pub drop_time: Duration,
    /// This node's workers.
    pub workers: Vec<WorkerConfig>,
    /// How many copies a change waits for when its caller does not say.
    pub ack: Level,
    /// The longest such wait.
    pub ack_timeout: Duration,
    /// Bytes of changes kept for one peer.
    pub queue_bytes: usize,
    /// How long to wait for somebody who has the sessions.
    pub state_transfer_timeout: Duration,
    /// The idle lifetime of sessions that are given none.
    pub max_inactive: IdleLimit,
    /// The most sessions.
    pub max_active: Option<usize>,
    /// Whether stopping this node ends every session of the cluster.
    pub expire_on_shutdown: bool,
    /// How often at most a session's use is told to other nodes.
    pub touch_interval: Duration,
}

/// A worker of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Its name in session ids.
    pub route: String,
    /// Its base URL.
    pub url: String,
    /// `ip:port` of that URL.
    pub addr: String,
    /// Its share of new sessions.
    pub weight: u32,
    /// What the health check asks for.
    pub health_path: String,
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
    let id = node.required("id", "\"node1\"").and_then(|text| {
        NodeId::parse(&text)
            .map_err(|error| node.problem("id", error))
            .ok()
    });
    let cluster = node.required("cluster", "\"shop\"").and_then(|text| {
        NodeId::parse(&text)
            .map_err(|error| node.problem("cluster", error))
            .ok()
    });
    let domain = node.string("domain").unwrap_or_default();
    if !domain.is_empty() && NodeId::parse(&domain).is_err() {
        node.problem("domain", "letters, digits, '.', '_' and '-' are expected");
    }

    let mut listen = root.section("listen");
    let addr =
        listen
            .required("cluster", "\"10.0.0.1:4000\"")
            .and_then(|text| match text.parse::<SocketAddr>() {
                Ok(addr) if addr.ip().is_unspecified() => {
                    listen.problem(
                        "cluster",
                        "other nodes are told this address, so it cannot be 0.0.0.0 or [::]",
                    );
                    None
                }
                Ok(addr) => Some(addr),
                Err(_) => {
                    listen.problem("cluster", format!("\"{text}\" is no ip:port"));
                    None
                }
            });
    let autobind = u16::try_from(listen.integer("autobind", 0, 1000, 0)).unwrap_or(0);
    let api = endpoints(&mut listen, base);
    let api_token = listen
        .string("api_token_file")
        .and_then(|file| read_token(&listen, &base.join(file)));
    let open = |endpoint: &&Endpoint| matches!(endpoint, Endpoint::Tcp(addr) if !addr.ip().is_loopback());
    if api_token.is_none() && api.iter().any(|endpoint| open(&endpoint)) {
        listen.problem(
            "api",
            "an address that is not loopback needs api_token_file, a file with a bearer token",
        );
    }

    let tls = tls_files(&mut root, base, cluster.as_ref(), id.as_ref());

    let mut membership = root.section("membership");
    let seeds = membership.strings("seeds");
    for (index, seed) in seeds.iter().enumerate() {
        let port = seed
            .rsplit_once(':')
            .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
        if !matches!(port, Some(Ok(1..))) {
            membership.problem(&format!("seeds[{index}]"), format!("\"{seed}\" is no host:port"));
        }
    }
    let probe_interval = period(&mut membership, "probe_interval", 500, 50, 60_000);
    let drop_time = period(&mut membership, "drop_time", 3000, 200, 600_000);
    if drop_time < probe_interval * 3 {
        membership.problem("drop_time", "at least three times probe_interval is expected");
    }

    let workers = workers(&mut root);

    let mut replication = root.section("replication");
    one_of(&mut replication, "mode", "delta");
    one_of(&mut replication, "compress", "none");
    let ack = replication.read("ack", Level::None, |text| {
        Level::parse(text).ok_or_else(|| "none, one, quorum or all is expected".into())
    });
    let ack_timeout = period(&mut replication, "ack_timeout", 15_000, 1, 600_000);
    let queue_bytes = replication.read("queue_bytes", 64 << 20, |text| {
        let bytes = units::bytes(text)?;
        let fits = (64 << 10..=16 << 30).contains(&bytes);
        if fits {
            Ok(bytes)
        } else {
            Err("from 64KiB to 16GiB is expected".into())
        }
    });
    let state_transfer_timeout = period(
        &mut replication,
        "state_transfer_timeout",
        60_000,
        100,
        86_400_000,
    );

    let mut session = root.section("session");
    let max_inactive = session.read("max_inactive", IdleLimit::Millis(1_800_000), idle);
    let max_active = session.integer("max_active", -1, i64::MAX, -1);
    if max_active == 0 {
        session.problem("max_active", "1 or more is expected, or -1 for no limit");
    }
    let expire_on_shutdown = session.boolean("expire_on_shutdown", false);
    let touch_interval = period(&mut session, "touch_interval", 60_000, 100, 86_400_000);

    Some(Config {
        node: id?,
        cluster: cluster?.as_str().to_owned(),
        domain,
        listen: addr?,
        autobind,
        api,
        api_token,
        tls: tls?,
        seeds,
        probe_interval,
        drop_time,
        workers,
        ack,
        ack_timeout,
        queue_bytes: usize::try_from(queue_bytes).unwrap_or(usize::MAX),
        state_transfer_timeout,
        max_inactive,
        max_active: usize::try_from(max_active).ok(),
        expire_on_shutdown,
        touch_interval,
    })
}

/// The certificates, tried out as the daemon will use them.
fn tls_files(
    root: &mut Section,
    base: &Path,
    cluster: Option<&NodeId>,
    node: Option<&NodeId>,
) -> Option<TlsFiles> {
    let mut tls = root.section("tls");
    let mut readable = true;
    let mut path = |key, example| {
        let path = base.join(tls.required(key, example)?);
        if let Err(error) = std::fs::File::open(&path) {
            tls.problem(key, format!("{}: {error}", path.display()));
            readable = false;
        }
        Some(path)
    };
    let (ca, cert, key) = (
        path("ca", "\"ca.pem\""),
        path("cert", "\"node1.pem\""),
        path("key", "\"node1.key\""),
    );
    let files = TlsFiles {
        ca: ca?,
        cert: cert?,
        key: key?,
    };
    let own = CertifiedNode {
        cluster: cluster?.to_string(),
        node: node?.to_string(),
    };
    if readable && let Err(error) = Tls::load(&files, &own) {
        tls.problem(error.key, &error);
    }
    Some(files)
}

fn endpoints(listen: &mut Section, base: &Path) -> Vec<Endpoint> {
    let written = listen.strings("api");
    let mut endpoints = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match (text.strip_prefix("unix:"), text.parse()) {
            (Some(path), _) if !path.is_empty() => endpoints.push(Endpoint::Unix(base.join(path))),
            (None, Ok(addr)) => endpoints.push(Endpoint::Tcp(addr)),
            _ => listen.problem(
                &format!("api[{index}]"),
                format!("\"{text}\" is neither ip:port nor unix:/path"),
            ),
        }
    }
    if written.is_empty() {
        endpoints.push(Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 4180))));
    }
    endpoints
}

fn read_token(listen: &Section, path: &Path) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 16 => Some(text.trim().to_owned()),
        Ok(_) => {
            listen.problem("api_token_file", "the token must have at least 16 characters");
            None
        }
        Err(error) => {
            listen.problem("api_token_file", format!("{}: {error}", path.display()));
            None
        }
    }
}

fn workers(root: &mut Section) -> Vec<WorkerConfig> {
    let (mut workers, mut routes) = (Vec::new(), BTreeSet::new());
    let sections = root.sections("worker");
    if sections.len() > WORKERS_MAX {
        root.problem("worker", format!("at most {WORKERS_MAX} workers per node"));
    }
    for mut section in sections {
        let route = section.required("route", "\"node1\"").filter(|route| {
            let valid = NodeId::parse(route).is_ok();
            if !valid {
                section.problem("route", "letters, digits, '.', '_' and '-' are expected");
            } else if !routes.insert(route.clone()) {
                section.problem("route", format!("\"{route}\" is the route of another worker"));
            }
            valid
        });
        let url = section
            .required("url", "\"http://10.0.0.1:8080\"")
            .and_then(|url| match address_of(&url) {
                Ok(addr) => Some((url, addr)),
                Err(sentence) => {
                    section.problem("url", sentence);
                    None
                }
            });
        let weight = u32::try_from(section.integer("weight", 1, 1000, 1)).unwrap_or(1);
        let health_path = section.string("health").unwrap_or_else(|| "/".into());
        if !health_path.starts_with('/') || !health_path.bytes().all(|b| b.is_ascii_graphic()) {
            section.problem("health", "a path that starts with / is expected");
        }
        if let (Some(route), Some((url, addr))) = (route, url) {
            workers.push(WorkerConfig {
                route,
                url,
                addr,
                weight,
                health_path,
            });
        }
    }
    workers
}

/// `ip:port` of a worker's URL. Proxies know a worker by its address, so a name will not do.
fn address_of(url: &str) -> Result<String, String> {
    let expected = || format!("\"{url}\" is no URL of the form http://ip:port");
    let rest = url.strip_prefix("http://").ok_or_else(expected)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if let Ok(addr) = authority.parse::<SocketAddr>() {
        return if addr.port() == 0 {
            Err(expected())
        } else {
            Ok(addr.to_string())
        };
    }
    let ip = authority.trim_start_matches('[').trim_end_matches(']');
    ip.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, 80).to_string())
        .map_err(|_| expected())
}

fn period(section: &mut Section, key: &str, default_ms: u64, least_ms: u64, most_ms: u64) -> Duration {
    section.read(key, Duration::from_millis(default_ms), |text| {
        let value = units::duration(text)?;
        let (least, most) = (Duration::from_millis(least_ms), Duration::from_millis(most_ms));
        if (least..=most).contains(&value) {
            Ok(value)
        } else {
            Err(format!("from {least:?} to {most:?} is expected"))
        }
    })
}

/// A key with one value so far.
fn one_of(section: &mut Section, key: &str, only: &'static str) {
    section.read(key, (), |text| {
        if text == only {
            Ok(())
        } else {
            Err(format!("this version knows only \"{only}\""))
        }
    });
}

fn idle(text: &str) -> Result<IdleLimit, String> {
    if text == "-1" {
        return Ok(IdleLimit::Forever);
    }
    match units::duration(text)? {
        Duration::ZERO => Err("more than nothing is expected, or \"-1\" for ever".into()),
        idle => Ok(IdleLimit::Millis(
            u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        )),
    }
}

#[cfg(test)]
mod tests;
