//! What the node and the cluster are like: health, members, digest, metrics.

use hyper::StatusCode;
use serde_json::json;

use super::metrics;
use super::reply::{ApiError, Reply, json, with_type};
use super::route::Context;
use crate::engine::Phase;
use crate::engine::sessions::Refused;

pub(super) fn alive() -> Reply {
    with_type(StatusCode::OK, "text/plain", "alive\n")
}

pub(super) fn ready(context: &Context) -> Reply {
    match context.node.with(|engine, _| engine.not_ready_reason()) {
        None => with_type(StatusCode::OK, "text/plain", "ready\n"),
        Some(reason) => ApiError::from(Refused::NotReady(reason)).reply(),
    }
}

pub(super) fn metrics(context: &Context) -> Reply {
    let traffic = context.node.traffic.all();
    let page = context.node.with(|engine, _| metrics::render(engine, &traffic));
    with_type(StatusCode::OK, "text/plain; version=0.0.4", page)
}

pub(super) fn members(context: &Context) -> Reply {
    let members = context.node.with(|engine, _| {
        let own_state = match engine.phase() {
            Phase::Joining { .. } => "joining",
            Phase::Ready => "ready",
            Phase::Leaving => "left",
        };
        let own = engine.identity();
        let own = json!({
            "id": own.node, "addr": own.addr, "state": own_state, "incarnation": own.incarnation, "self": true,
            "problem": engine.duplicate_problem(),
        });
        let others = engine.roster().iter().map(|(node, member)| {
            let queue = engine.peers().get(node).map_or(0, |peer| peer.outboxes().bytes());
            json!({
                "id": node.as_str(),
                "addr": member.identity.addr,
                "state": member.state().name(),
                "incarnation": member.identity.incarnation,
                "self": false,
                "queue_bytes": queue,
            })
        });
        let mut all: Vec<_> = std::iter::once(own).chain(others).collect();
        all.sort_by_key(|member| member.get("id").map(ToString::to_string));
        all
    });
    json(StatusCode::OK, &json!({ "members": members }))
}

pub(super) fn digest(context: &Context) -> Reply {
    let (count, hash) = context.node.with(|engine, _| {
        let table = engine.table();
        (
            engine.sessions(),
            table.digests().fold(0, |sum, digest| sum ^ digest),
        )
    });
    json(
        StatusCode::OK,
        &json!({ "sessions": count, "hash": format!("{hash:016x}") }),
    )
}

/// Counts again what is kept count of.
pub(super) fn selfcheck(context: &Context) -> Reply {
    let check = context.node.with(|engine, _| engine.selfcheck());
    json(
        StatusCode::OK,
        &json!({
            "equal": check.differences.is_empty(),
            "records": check.records,
            "waiting": check.waiting,
            "differences": check.differences,
        }),
    )
}
