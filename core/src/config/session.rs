//! The table `[session]`: how long sessions live, and how many there may be.

use std::time::Duration;

use limpet_wire::report::IdleLimit;

use super::section::Section;
use crate::base::units;

/// How long sessions live, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The idle lifetime of sessions that are given none.
    pub max_inactive: IdleLimit,
    /// The most sessions.
    pub max_active: Option<usize>,
    /// Whether stopping this node ends every session of the cluster.
    pub expire_on_shutdown: bool,
    /// The shortest time between two replicated touches of a session.
    pub touch_interval: Duration,
    /// How long the old id of a renamed session still finds it.
    pub rename_forward: Duration,
}

pub(super) fn read(root: &mut Section) -> SessionConfig {
    let mut session = root.section("session");
    let max_inactive = session.read("max_inactive", IdleLimit::Millis(1_800_000), idle);
    let max_active = session.integer("max_active", -1, i64::MAX, -1);
    if max_active == 0 {
        session.problem("max_active", "1 or more is expected, or -1 for no limit");
    }
    SessionConfig {
        max_inactive,
        max_active: usize::try_from(max_active).ok(),
        expire_on_shutdown: session.boolean("expire_on_shutdown", false),
        touch_interval: session.period("touch_interval", 60_000, 100, 86_400_000),
        rename_forward: session.period("rename_forward", 30_000, 0, 600_000),
    }
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
