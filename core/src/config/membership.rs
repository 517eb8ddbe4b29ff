//! `[membership]`: whom to dial, and how soon a silent member is missed.

use std::time::Duration;

use super::section::Section;

/// How members are found and missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipConfig {
    /// Whom to dial first.
    pub seeds: Vec<String>,
    /// How often a member is probed.
    pub probe_interval: Duration,
    /// How long a member may be silent.
    pub drop_time: Duration,
    /// How far a member's clock may be from this one's before that is said in the log.
    pub max_drift_warning: Duration,
}

pub(super) fn read(root: &mut Section) -> MembershipConfig {
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
    MembershipConfig {
        max_drift_warning,
        seeds,
        probe_interval,
        drop_time,
    }
}

fn is_host_and_port(text: &str) -> bool {
    let port = text
        .rsplit_once(':')
        .and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    matches!(port, Some(Ok(1..)))
}
