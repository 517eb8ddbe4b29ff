//! The tables `[[worker]]`: the application servers of this node.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::section::Section;
use crate::base::id::NodeId;
use crate::base::limits::WORKERS_MAX;

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

pub(super) fn read(root: &mut Section) -> Vec<WorkerConfig> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_workers() {
        for (url, addr) in [
            ("http://10.0.0.1:8080", Some("10.0.0.1:8080")),
            ("http://10.0.0.1/", Some("10.0.0.1:80")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("http://worker:8080", None),
            ("https://10.0.0.1", None),
            ("http://10.0.0.1:0", None),
            ("http://10.0.0.1:8080/app", None),
        ] {
            assert_eq!(address_of(url).ok().as_deref(), addr, "{url}");
        }
    }
}
