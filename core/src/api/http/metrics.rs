//! The daemon's metrics, in the Prometheus text format (version 0.0.4). Every name is written once, here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::base::id::NodeId;
use crate::drivers::traffic::Traffic;
use crate::engine::{Engine, Phase};

/// The text `GET /metrics` answers with.
#[must_use]
pub(super) fn render(engine: &Engine, traffic: &BTreeMap<NodeId, Arc<Traffic>>) -> String {
    let mut page = Page::default();
    let c = engine.counters();
    let table = engine.table();
    page.gauge(
        "limpet_ready",
        "1 once the node has the whole session table",
        u64::from(*engine.phase() == Phase::Ready),
    );
    page.gauge(
        "limpet_sessions",
        "sessions in the table",
        engine.sessions() as u64,
    );
    page.gauge(
        "limpet_tombstones",
        "ended sessions that are remembered",
        table.tombstones() as u64,
    );
    page.gauge(
        "limpet_session_bytes",
        "about what the table costs, in bytes",
        table.bytes() as u64,
    );
    page.gauge(
        "limpet_ack_waiters",
        "callers waiting for copies",
        engine.waiting() as u64,
    );
    page.gauge(
        "limpet_digest_mismatch_buckets",
        "buckets that differed at the last comparison",
        c.mismatched_buckets,
    );
    page.counter("limpet_sessions_created_total", "sessions that began", c.created);
    page.counter("limpet_sessions_ended_total", "sessions that ended", c.ended);
    page.counter(
        "limpet_sessions_expired_total",
        "sessions this node ended for idleness",
        c.expired,
    );
    page.counter(
        "limpet_sessions_rebound_total",
        "sessions bound to another worker",
        c.rebound,
    );
    page.counter(
        "limpet_sessions_renamed_total",
        "sessions given another id here",
        c.renamed,
    );
    page.counter(
        "limpet_sessions_revived_total",
        "sessions another node had found idle too early, told to it again",
        c.revived,
    );
    page.counter(
        "limpet_sessions_refused_total",
        "new sessions refused because session.max_active was reached",
        c.refused_full,
    );
    page.counter(
        "limpet_attributes_ignored_total",
        "attributes that were not kept because replication.replicate does not name them",
        c.attributes_ignored,
    );
    page.counter(
        "limpet_sessions_handed_off_total",
        "sessions forgotten here because the nodes that should hold them do",
        c.handed_off,
    );
    page.counter(
        "limpet_expiries_refused_total",
        "words of others that a session is idle which by this node's time was far from it",
        c.expiries_refused,
    );
    page.counter(
        "limpet_started_over_total",
        "times this node dropped its table because it had been away for too long",
        c.started_over,
    );
    page.gauge(
        "limpet_sessions_misplaced",
        "sessions that wait to be handed over to the nodes that should hold them",
        engine.misplaced().count() as u64,
    );
    page.counter("limpet_deltas_sent_total", "changes sent to peers", c.deltas_sent);
    page.counter(
        "limpet_deltas_received_total",
        "changes received from peers",
        c.deltas_received,
    );
    page.counter(
        "limpet_transfer_records_received_total",
        "records received on request",
        c.transfer_sessions_received,
    );
    page.counter(
        "limpet_skew_refused_total",
        "changes refused for a stamp too far ahead",
        c.skew_refused,
    );
    page.counter(
        "limpet_duplicate_id_refused_total",
        "times a node was refused because a live one has its name",
        c.duplicate_ids,
    );
    page.counter(
        "limpet_peer_behind_total",
        "times changes for a peer were dropped",
        c.behind,
    );
    page.counter(
        "limpet_transfers_refused_total",
        "requests for parts of the table this node was too busy for",
        c.transfers_refused,
    );
    page.gauge(
        "limpet_joined_without_members",
        "members without a link or an answer when this node became ready, so not compared with",
        c.joined_without_members,
    );
    page.counter(
        "limpet_repairs_total",
        "transfers begun because tables differed",
        c.repairs,
    );
    page.family(
        "limpet_member_active",
        "gauge",
        "1 while the member is counted in",
    );
    for (node, member) in engine.roster().iter() {
        page.line(
            "limpet_member_active",
            &[("node", node.as_str())],
            u64::from(member.active),
        );
    }
    page.family(
        "limpet_peer_linked",
        "gauge",
        "1 while the link to the peer is up",
    );
    page.family(
        "limpet_peer_queue_bytes",
        "gauge",
        "bytes of changes the peer has not acknowledged",
    );
    page.family(
        "limpet_peer_dropped_total",
        "counter",
        "changes for the peer that were dropped",
    );
    page.family(
        "limpet_peer_repairs_total",
        "counter",
        "repairs begun because the peer's table differed",
    );
    page.family(
        "limpet_digest_mismatch_sessions",
        "gauge",
        "sessions found different in the last repair from the peer; 0 once tables are equal",
    );
    for (node, peer) in engine.peers() {
        let labels = [("peer", node.as_str())];
        page.line("limpet_peer_repairs_total", &labels, peer.repairs());
        page.line(
            "limpet_digest_mismatch_sessions",
            &labels,
            peer.mismatched_sessions(),
        );
        page.line("limpet_peer_linked", &labels, u64::from(peer.is_linked()));
        page.line("limpet_peer_queue_bytes", &labels, peer.outboxes().bytes() as u64);
        page.line("limpet_peer_dropped_total", &labels, peer.outboxes().dropped());
    }
    show_traffic(&mut page, traffic);
    page.family(
        "limpet_clock_drift_ms",
        "gauge",
        "how far the peer's clock is ahead of this one's, in milliseconds; behind if less than 0",
    );
    for (node, _) in engine.roster().iter() {
        if let Some(ahead_ms) = engine.clock_drift_ms(node) {
            page.line("limpet_clock_drift_ms", &[("peer", node.as_str())], ahead_ms);
        }
    }
    page.family("limpet_worker_up", "gauge", "1 while the worker may be routed to");
    page.family(
        "limpet_worker_takes_new",
        "gauge",
        "1 while the worker may be sent requests that are not bound to it",
    );
    for worker in engine.worker_table(0).workers {
        let labels = [("route", worker.route.as_str()), ("node", worker.node.as_str())];
        page.line("limpet_worker_up", &labels, u64::from(worker.takes_bound()));
        page.line("limpet_worker_takes_new", &labels, u64::from(worker.takes_new()));
    }
    page.text()
}

/// What passed between this node and each other one.
fn show_traffic(page: &mut Page, traffic: &BTreeMap<NodeId, Arc<Traffic>>) {
    type Count = (&'static str, &'static str, fn(&Traffic) -> u64);
    const COUNTERS: [Count; 7] = [
        (
            "limpet_peer_sent_messages_total",
            "messages sent to the peer",
            |t| t.sent.messages(),
        ),
        ("limpet_peer_sent_bytes_total", "bytes of those messages", |t| {
            t.sent.bytes()
        }),
        (
            "limpet_peer_sent_wire_bytes_total",
            "bytes of those messages as frames, compressed where they were, without TLS",
            |t| t.sent.wire_bytes(),
        ),
        (
            "limpet_peer_received_messages_total",
            "messages received from the peer",
            |t| t.received.messages(),
        ),
        (
            "limpet_peer_received_bytes_total",
            "bytes of those messages",
            |t| t.received.bytes(),
        ),
        (
            "limpet_peer_received_wire_bytes_total",
            "bytes of those messages as frames, compressed where they were, without TLS",
            |t| t.received.wire_bytes(),
        ),
        (
            "limpet_peer_reconnects_total",
            "times the first link to the peer was made again",
            |t| t.reconnects(),
        ),
    ];
    for (name, help, value) in COUNTERS {
        page.family(name, "counter", help);
        for (node, traffic) in traffic {
            page.line(name, &[("peer", node.as_str())], value(traffic));
        }
    }
    page.family(
        "limpet_peer_ack_seconds",
        "gauge",
        "how long the peer takes to acknowledge a batch, a moving average",
    );
    page.family(
        "limpet_peer_ack_seconds_max",
        "gauge",
        "the longest it took since this page was last asked for",
    );
    for (node, traffic) in traffic {
        let (labels, time) = ([("peer", node.as_str())], traffic.take_ack_time());
        page.line("limpet_peer_ack_seconds", &labels, seconds(time.average));
        page.line("limpet_peer_ack_seconds_max", &labels, seconds(time.longest));
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Families in the order they were named, each with its lines together, as the format wants it.
#[derive(Default)]
struct Page {
    families: Vec<(&'static str, String)>,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.families
            .push((name, format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")));
    }

    fn line(&mut self, name: &'static str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let Some((_, text)) = self.families.iter_mut().find(|(family, _)| *family == name) else {
            return;
        };
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(text, "{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.line(name, &[], value);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(name, &[], value);
    }

    fn text(self) -> String {
        self.families.into_iter().map(|(_, text)| text).collect()
    }
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
