//! Metrics of the other nodes: membership, clocks, links, what waits for each and what passes.

use super::page::Page;
use crate::service::metrics::Metrics;
use crate::service::status::{PeerStatus, TrafficStatus};

/// Every family with a sample for each other node.
pub(super) fn write(page: &mut Page, metrics: &Metrics) {
    let mut active = page.gauges("limpet_member_active", "1 while the member is counted in");
    for (node, is_active, _) in &metrics.members {
        active.sample(&[("node", node.as_str())], u64::from(*is_active));
    }
    let mut drift = page.gauges(
        "limpet_clock_drift_ms",
        "how far the peer's clock is ahead of this one's, in milliseconds; negative while it is behind",
    );
    for (node, _, ahead_ms) in &metrics.members {
        if let Some(ahead_ms) = ahead_ms {
            drift.sample(&[("peer", node.as_str())], ahead_ms);
        }
    }
    write_peers(page, &metrics.peers);
    write_traffic(page, metrics);
    write_ack_times(page, metrics);
}

fn write_peers(page: &mut Page, peers: &[PeerStatus]) {
    type Value = (&'static str, &'static str, fn(&PeerStatus) -> u64);
    const GAUGES: [Value; 3] = [
        (
            "limpet_peer_linked",
            "1 while the first link to the peer is up",
            |p| u64::from(p.linked),
        ),
        (
            "limpet_peer_queue_bytes",
            "bytes of changes the peer has not acknowledged",
            |p| p.queue_bytes as u64,
        ),
        (
            "limpet_digest_mismatch_sessions",
            "sessions found different in the last repair from the peer; 0 once tables are equal",
            |p| p.mismatched_sessions,
        ),
    ];
    const COUNTERS: [Value; 2] = [
        (
            "limpet_peer_dropped_total",
            "changes for the peer that were dropped",
            |p| p.dropped,
        ),
        (
            "limpet_peer_repairs_total",
            "repairs begun because the peer's table differed",
            |p| p.repairs,
        ),
    ];
    for (name, help, value) in GAUGES {
        let mut family = page.gauges(name, help);
        for peer in peers {
            family.sample(&[("peer", peer.node.as_str())], value(peer));
        }
    }
    for (name, help, value) in COUNTERS {
        let mut family = page.counters(name, help);
        for peer in peers {
            family.sample(&[("peer", peer.node.as_str())], value(peer));
        }
    }
}

fn write_traffic(page: &mut Page, metrics: &Metrics) {
    type Count = (&'static str, &'static str, fn(&TrafficStatus) -> u64);
    const COUNTERS: [Count; 7] = [
        (
            "limpet_peer_sent_messages_total",
            "messages sent to the peer",
            |t| t.sent.messages,
        ),
        ("limpet_peer_sent_bytes_total", "bytes of those messages", |t| {
            t.sent.bytes
        }),
        (
            "limpet_peer_sent_wire_bytes_total",
            "bytes of those messages as frames, compressed where they were, without TLS",
            |t| t.sent.wire_bytes,
        ),
        (
            "limpet_peer_received_messages_total",
            "messages received from the peer",
            |t| t.received.messages,
        ),
        (
            "limpet_peer_received_bytes_total",
            "bytes of those messages",
            |t| t.received.bytes,
        ),
        (
            "limpet_peer_received_wire_bytes_total",
            "bytes of those messages as frames, compressed where they were, without TLS",
            |t| t.received.wire_bytes,
        ),
        (
            "limpet_peer_reconnects_total",
            "times the first link to the peer was made again",
            |t| t.reconnects,
        ),
    ];
    for (name, help, value) in COUNTERS {
        let mut family = page.counters(name, help);
        for (node, traffic) in &metrics.traffic {
            family.sample(&[("peer", node.as_str())], value(traffic));
        }
    }
}

fn write_ack_times(page: &mut Page, metrics: &Metrics) {
    let mut average = page.gauges(
        "limpet_peer_ack_seconds",
        "how long the peer takes to acknowledge a batch, a moving average",
    );
    for (node, traffic) in &metrics.traffic {
        average.sample(&[("peer", node.as_str())], traffic.ack_average.as_secs_f64());
    }
    let mut longest = page.gauges(
        "limpet_peer_ack_seconds_max",
        "the longest it took since this page was last asked for",
    );
    for (node, traffic) in &metrics.traffic {
        longest.sample(&[("peer", node.as_str())], traffic.ack_longest.as_secs_f64());
    }
}
