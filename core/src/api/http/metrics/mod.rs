//! The node's metrics as a page for Prometheus. Every name is written once, in this folder. The numbers are copied by
//! the service; the page is written afterwards, when nobody waits for them.

mod page;
mod peers;

use hyper::StatusCode;

use self::page::Page;
use super::reply::{Reply, with_type};
use crate::service::Service;
use crate::service::metrics::Metrics;

/// `GET /metrics`.
pub(super) fn page(service: &Service) -> Reply {
    with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4",
        text(&service.metrics()),
    )
}

fn text(metrics: &Metrics) -> String {
    let mut page = Page::default();
    write_table(&mut page, metrics);
    write_clocks(&mut page, metrics);
    write_sessions(&mut page, metrics);
    write_replication(&mut page, metrics);
    peers::write(&mut page, metrics);
    write_workers(&mut page, metrics);
    page.into_text()
}

fn write_table(page: &mut Page, metrics: &Metrics) {
    page.gauge(
        "limpet_ready",
        "1 once the node has the whole session table",
        u64::from(metrics.ready),
    );
    page.gauge(
        "limpet_table_incomplete",
        "1 while sessions may be missing: the node waited in vain for the table, and has met no member that has it since",
        u64::from(metrics.incomplete),
    );
    page.gauge("limpet_sessions", "sessions in the table", metrics.sessions);
    page.gauge(
        "limpet_tombstones",
        "tombstones in the table: sessions that ended and are remembered",
        metrics.tombstones,
    );
    page.gauge(
        "limpet_session_bytes",
        "about how much memory the table takes, in bytes",
        metrics.table_bytes,
    );
    page.gauge(
        "limpet_ack_waiters",
        "callers waiting for copies",
        metrics.ack_waiters,
    );
    page.gauge(
        "limpet_sessions_misplaced",
        "sessions that wait to be handed off to the nodes that should hold them",
        metrics.misplaced,
    );
}

fn write_clocks(page: &mut Page, metrics: &Metrics) {
    page.gauge(
        "limpet_clock_ahead_ms",
        "how far this node's clock is ahead of the cluster's time, in milliseconds; negative while it is behind",
        metrics.clock_ahead_ms,
    );
    page.gauge(
        "limpet_clock_wrong_ms",
        "how far this node's clock is ahead of the right time while it is wrong; 0 while it is right",
        metrics.clock_wrong_ms,
    );
    page.counter(
        "limpet_skew_refused_total",
        "changes refused because their stamp was too far ahead of this node's time",
        metrics.counters.skew_refused,
    );
    page.counter(
        "limpet_stamp_refusals_total",
        "times peers said that they refuse this node's changes because their stamps are too far ahead",
        metrics.stamp_refusals,
    );
    page.counter(
        "limpet_time_corrected_total",
        "times this node's time was corrected to the cluster's",
        metrics.counters.time_corrected,
    );
    page.counter(
        "limpet_records_restamped_total",
        "records stamped anew after such a correction",
        metrics.counters.restamped,
    );
}

fn write_sessions(page: &mut Page, metrics: &Metrics) {
    let c = &metrics.counters;
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
        "limpet_renames_undone_total",
        "sessions that got their old id back because another one had the new id",
        c.renames_undone,
    );
    page.counter(
        "limpet_sessions_revived_total",
        "expiries of other nodes that this node refuted with a later touch",
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
        "expiries of other nodes refused because by this node's clock the session was far from idle",
        c.expiries_refused,
    );
}

fn write_replication(page: &mut Page, metrics: &Metrics) {
    let c = &metrics.counters;
    page.counter("limpet_deltas_sent_total", "changes sent to peers", c.deltas_sent);
    page.counter(
        "limpet_deltas_received_total",
        "changes received from peers",
        c.deltas_received,
    );
    page.counter(
        "limpet_peer_behind_total",
        "times changes for a peer were dropped",
        c.behind,
    );
    page.counter(
        "limpet_quarantined_refused_total",
        "changes refused because a change of their session made this process panic before",
        c.quarantined,
    );
    page.counter(
        "limpet_transfer_records_received_total",
        "records received in transfers and repairs",
        c.transfer_sessions_received,
    );
    page.counter(
        "limpet_transfers_refused_total",
        "requests for parts of the table this node was too busy for",
        c.transfers_refused,
    );
    page.counter(
        "limpet_repairs_total",
        "repairs begun because tables differed",
        c.repairs,
    );
    page.gauge(
        "limpet_digest_mismatch_buckets",
        "buckets that differed at the last comparison of tables",
        c.mismatched_buckets,
    );
    page.gauge(
        "limpet_joined_without_members",
        "members without a link or an answer when this node became ready, so not compared with",
        c.joined_without_members,
    );
    page.counter(
        "limpet_started_over_total",
        "times this node dropped its table because it had been away for too long",
        c.started_over,
    );
    page.counter(
        "limpet_duplicate_id_refused_total",
        "times a node was refused because a live one has its id",
        c.duplicate_ids,
    );
    page.counter(
        "limpet_members_refused_total",
        "times a node was refused because 1024 members are active or linked",
        c.members_refused,
    );
    page.counter(
        "limpet_members_forgotten_total",
        "members that an operator said are dead, so that they do not count towards the majority",
        c.members_forgotten,
    );
}

fn write_workers(page: &mut Page, metrics: &Metrics) {
    let mut up = page.gauges("limpet_worker_up", "1 while the worker may be routed to");
    for worker in &metrics.workers {
        let labels = [("route", worker.route.as_str()), ("node", worker.node.as_str())];
        up.sample(&labels, u64::from(worker.takes_bound()));
    }
    let mut takes_new = page.gauges(
        "limpet_worker_takes_new",
        "1 while the worker may be sent requests that are not bound to it",
    );
    for worker in &metrics.workers {
        let labels = [("route", worker.route.as_str()), ("node", worker.node.as_str())];
        takes_new.sample(&labels, u64::from(worker.takes_new()));
    }
}
