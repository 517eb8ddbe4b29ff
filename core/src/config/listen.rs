//! The table `[listen]`: the addresses at which other nodes, applications and people reach this node.

use std::net::SocketAddr;
use std::path::Path;

use super::section::Section;
use crate::api::http::Endpoint;

/// Where this node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// Where other nodes connect to.
    pub cluster: SocketAddr,
    /// How many ports after that one are tried when it is taken.
    pub autobind: u16,
    /// Where the API listens.
    pub api: Vec<Endpoint>,
    /// Wanted on API addresses that are not loopback.
    pub api_token: Option<String>,
}

pub(super) fn read(root: &mut Section, base: &Path) -> Option<ListenConfig> {
    let mut listen = root.section("listen");
    let cluster = cluster_address(&mut listen);
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
    Some(ListenConfig {
        cluster: cluster?,
        autobind,
        api,
        api_token,
    })
}

fn cluster_address(listen: &mut Section) -> Option<SocketAddr> {
    let text = listen.required("cluster", "\"10.0.0.1:4000\"")?;
    match text.parse::<SocketAddr>() {
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
    }
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
