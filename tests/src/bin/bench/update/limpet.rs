//! Limpet: one core, or two that hold the same, over mutual TLS.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use limpet_tests::cluster::Site;

use super::{SESSIONS, Sample, Shape, VALUE};
use crate::Extent;
use crate::connections::Traffic;
use crate::cpu::{LOAD, MEASURED, spent_us};
use crate::load::{Answers, Load};
use crate::nodes::{ATTRIBUTE, Node, report, sessions};

const WARM: Duration = Duration::from_millis(500);

/// How an update is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As filters do: binary, `POST /v1/filter/report`.
    Report,
    /// As applications do: JSON, `PATCH /v1/sessions/{app}/{id}`.
    Patch,
}

/// One run.
pub(super) async fn measure(spelling: Spelling, shape: Shape, copies: bool, extent: Extent) -> Sample {
    let site = Site::new("update", &[], if copies { &["a", "b"] } else { &["a"] });
    let node = Node::start(&site, "a", MEASURED).await;
    let other = if copies {
        Some(Node::start(&site, "b", LOAD).await)
    } else {
        None
    };
    if let Some(other) = &other {
        node.sees(2).await;
        other.sees(2).await;
    }
    let written = sessions(SESSIONS, shape.ids, VALUE);
    node.fill(&written);
    settle(&node, other.as_ref()).await;

    let requests: Vec<_> = match spelling {
        Spelling::Report => written.chunks(shape.batch).map(report).collect(),
        Spelling::Patch => written.iter().map(|(id, value)| patch(id, value)).collect(),
    };
    let load = Load {
        to: &node.socket,
        connections: shape.connections(),
        requests: &requests,
        updates: shape.batch,
        answers: if spelling == Spelling::Report {
            Answers::Reports
        } else {
            Answers::Http
        },
        pace: shape.pace(),
    };
    load.run(WARM);
    settle(&node, other.as_ref()).await;

    let ports: Vec<_> = std::iter::once(&node)
        .chain(&other)
        .map(|node| node.port)
        .collect();
    let spent = || {
        (
            spent_us(node.process.id()),
            other.as_ref().map_or(0.0, |other| spent_us(other.process.id())),
        )
    };
    let told = node.metric("limpet_deltas_sent_total").await;
    let (before, traffic) = (spent(), Traffic::of(node.process.id(), &ports, None));
    let done = load.run(extent.window);
    let answered = Instant::now();
    let busy = (spent().0 - before.0) / 1e6 / done.seconds;
    settle(&node, other.as_ref()).await;
    let lag_ms = answered.elapsed().as_secs_f64() * 1e3;
    let (after, traffic) = (
        spent(),
        Traffic::of(node.process.id(), &ports, None).since(traffic),
    );
    let told = node.metric("limpet_deltas_sent_total").await - told;
    assert_eq!(
        node.metric("limpet_peer_dropped_total").await,
        0.0,
        "the second node kept up: nothing was dropped"
    );
    Sample {
        rate: done.updates / done.seconds,
        node_us: (after.0 - before.0) / done.updates,
        peer_us: (after.1 - before.1) / done.updates,
        sent: traffic.sent / done.updates,
        both: (traffic.sent + traffic.received) / done.updates,
        told: told / done.updates,
        lag_ms,
        busy,
    }
}

/// Waits until both hold the same, where there are two.
async fn settle(node: &Node, other: Option<&Node>) {
    if let Some(other) = other {
        node.equals(other).await;
    }
}

fn patch(id: &str, value: &[u8]) -> Vec<u8> {
    let body = format!("{{\"set\":{{\"{ATTRIBUTE}\":\"{}\"}}}}", STANDARD.encode(value));
    format!(
        "PATCH /v1/sessions/default/{id} HTTP/1.1\r\nhost: core\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
