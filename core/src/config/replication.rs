//! The table `[replication]`: how changes reach other nodes.

use std::time::Duration;

use super::section::Section;
use crate::engine::Mode;
use crate::net::compress::Compression;
use crate::replication::acks::Level;
use crate::replication::placement::COPIES_MAX;
use crate::replication::streams::STREAMS_MAX;
use crate::session::AttributeFilter;

/// How changes reach other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationConfig {
    /// Which nodes hold a session.
    pub mode: Mode,
    /// How many copies a change waits for where its caller names no level.
    pub ack: Level,
    /// The longest such wait.
    pub ack_timeout: Duration,
    /// How frames to other nodes are written.
    pub compress: Compression,
    /// How many links are made to each peer.
    pub links: u8,
    /// Bytes of changes kept for one peer.
    pub queue_bytes: usize,
    /// How many nodes are sent parts of the table at a time.
    pub donor_transfers: usize,
    /// How often tables are compared.
    pub repair_interval: Duration,
    /// How long to wait for a donor of the table; `None` for ever.
    pub state_transfer_timeout: Option<Duration>,
    /// How long tombstones are kept.
    pub tombstone_life: Duration,
    /// Which attributes are stored and replicated.
    pub replicate: AttributeFilter,
    /// How far ahead of this node's clock a stamp may be.
    pub max_skew: Duration,
}

pub(super) fn read(root: &mut Section) -> ReplicationConfig {
    let mut replication = root.section("replication");
    let backup = replication.read("mode", false, |text| match text {
        "delta" => Ok(false),
        "backup" => Ok(true),
        _ => Err("delta or backup is expected".into()),
    });
    let most = i64::try_from(COPIES_MAX).unwrap_or(i64::MAX);
    let copies = usize::try_from(replication.integer("copies", 1, most, 1)).unwrap_or(1);
    let compress = replication.read("compress", Compression::None, |text| {
        Compression::parse(text).ok_or_else(|| "none or zstd is expected".into())
    });
    let ack = replication.read("ack", Level::None, |text| {
        Level::parse(text).ok_or_else(|| "none, one, quorum or all is expected".into())
    });
    let ack_timeout = replication.period("ack_timeout", 15_000, 1, 600_000);
    let links = u8::try_from(replication.integer("links", 1, STREAMS_MAX.into(), 2)).unwrap_or(STREAMS_MAX);
    let queue_bytes = replication.size("queue_bytes", 64 << 20, 64 << 10, 16 << 30);
    let donor_transfers = usize::try_from(replication.integer("donor_transfers", 1, 64, 2)).unwrap_or(1);
    let repair_interval = replication.period("repair_interval", 5000, 100, 3_600_000);
    let state_transfer_timeout =
        replication.period_or_never("state_transfer_timeout", 60_000, 100, 86_400_000);
    let tombstone_life = replication.period("tombstone_life", 86_400_000, 10_000, 30 * 86_400_000);
    ReplicationConfig {
        mode: if backup {
            Mode::Backup { copies }
        } else {
            Mode::Delta
        },
        ack,
        ack_timeout,
        compress,
        links,
        queue_bytes,
        donor_transfers,
        repair_interval,
        state_transfer_timeout,
        tombstone_life,
        replicate: replicate(&mut replication),
        max_skew: replication.period("max_skew", 60_000, 1000, 3_600_000),
    }
}

fn replicate(replication: &mut Section) -> AttributeFilter {
    AttributeFilter::new(replication.strings("replicate")).unwrap_or_else(|bad| {
        let key = bad
            .index
            .map_or("replicate".into(), |index| format!("replicate[{index}]"));
        replication.problem(&key, bad.sentence);
        AttributeFilter::default()
    })
}
