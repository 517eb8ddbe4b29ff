//! The table `[membership]`: seeds and other sources of addresses, and the times of failure detection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::section::Section;
use crate::drivers::discovery::MulticastConfig;
use crate::drivers::links::LookupConfig;

/// How members are discovered, and their failures detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipConfig {
    /// Whom to dial first.
    pub seeds: Vec<String>,
    /// A name that other nodes are found by.
    pub dns: Option<LookupConfig>,
    /// Hints that others are found by.
    pub multicast: Option<MulticastConfig>,
    /// How often a member is probed.
    pub probe_interval: Duration,
    /// How long a member may be silent.
    pub drop_time: Duration,
    /// By how much a member's clock may differ before the log warns of it.
    pub max_drift_warning: Duration,
}

/// Reads the table. Hints go out where other nodes connect to, `listen`, unless an interface is named.
pub(super) fn read(root: &mut Section, listen: Option<SocketAddr>) -> MembershipConfig {
    let mut membership = root.section("membership");
    let seeds = membership.strings("seeds");
    for (index, seed) in seeds.iter().enumerate() {
        if !is_host_and_port(seed) {
            membership.problem(&format!("seeds[{index}]"), format!("\"{seed}\" is no host:port"));
        }
    }
    let probe_interval = membership.period("probe_interval", 500, 50, 60_000);
    let drop_time = membership.period("drop_time", 3000, 200, 600_000);
    if drop_time < probe_interval * 3 {
        membership.problem("drop_time", "at least three times probe_interval is expected");
    }
    let max_drift_warning = membership.period("max_drift_warning", 1000, 10, 3_600_000);
    let dns = lookup(&mut membership);
    let multicast = membership
        .optional_section("multicast")
        .and_then(|mut section| multicast(&mut section, listen));
    MembershipConfig {
        dns,
        multicast,
        max_drift_warning,
        seeds,
        probe_interval,
        drop_time,
    }
}

fn lookup(membership: &mut Section) -> Option<LookupConfig> {
    let name = membership.string("dns");
    let interval = membership.period("dns_interval", 30_000, 1000, 3_600_000);
    let name = name?;
    if !is_host_and_port(&name) {
        membership.problem("dns", format!("\"{name}\" is no name:port"));
    }
    Some(LookupConfig { name, interval })
}

fn multicast(section: &mut Section, listen: Option<SocketAddr>) -> Option<MulticastConfig> {
    let address = section
        .required("address", "\"228.0.0.4:45564\"")
        .and_then(|text| match text.parse::<SocketAddrV4>() {
            Ok(address) if address.ip().is_multicast() && address.port() != 0 => Some(address),
            _ => {
                section.problem("address", format!("\"{text}\" is no multicast ip:port of IPv4"));
                None
            }
        });
    let own = match listen.map(|listen| listen.ip()) {
        Some(IpAddr::V4(own)) => Some(own),
        _ => None,
    };
    let interface = match section.string("interface") {
        None if own.is_none() && listen.is_some() => {
            section.problem(
                "interface",
                "is missing: the IPv4 address of the interface, because listen.cluster is none",
            );
            None
        }
        None => own,
        Some(text) => match text.parse::<Ipv4Addr>() {
            Ok(interface) if !interface.is_unspecified() => Some(interface),
            _ => {
                section.problem(
                    "interface",
                    format!("\"{text}\" is no IPv4 address of an interface"),
                );
                None
            }
        },
    };
    let frequency = section.period("frequency", 500, 50, 60_000);
    let ttl = u32::try_from(section.integer("ttl", 1, 255, 1)).unwrap_or(1);
    Some(MulticastConfig {
        address: address?,
        interface: interface?,
        frequency,
        ttl,
    })
}

fn is_host_and_port(text: &str) -> bool {
    let port = text
        .rsplit_once(':')
        .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    matches!(port, Some(Ok(1..)))
}
