//! What the node and the cluster are like, in JSON: health, members, peers, digest, self-check.

use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use super::error::ApiError;
use super::reply::{Reply, ok, with_type};
use super::request::only;
use crate::base::id::NodeId;
use crate::service::Service;
use crate::service::status::{Flow, MemberStatus, PeerStatus, TrafficStatus};

/// `GET /healthz`.
pub(super) fn alive() -> Reply {
    with_type(StatusCode::OK, "text/plain", "alive\n")
}

/// `GET /readyz`, and `GET /readyz?verbose`, which says also what may be missing.
pub(super) fn ready<B>(service: &Service, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["verbose"])?;
    service.check_ready()?;
    let verbose = request.uri().query().is_some_and(|query| !query.is_empty());
    let warning = service.shortfall().filter(|_| verbose);
    let warning = warning.map_or(String::new(), |warning| format!("warning: {warning}\n"));
    Ok(with_type(
        StatusCode::OK,
        "text/plain",
        format!("ready\n{warning}"),
    ))
}

/// `GET /v1/members`, ordered by name.
pub(super) fn members(service: &Service) -> Reply {
    let members = service.members();
    let own = json!({ "self": true, "problem": members.own_problem });
    let others = members
        .others
        .iter()
        .map(|(status, queue)| (status, json!({ "self": false, "queue_bytes": queue })));
    let mut all: Vec<_> = others.chain([(&members.own, own)]).collect();
    all.sort_by_key(|(status, _)| &status.node);
    let all: Vec<_> = all
        .into_iter()
        .map(|(status, more)| member(status, more))
        .collect();
    let mut shown = json!({ "members": all });
    if let (Some(quorum), Some(shown)) = (&members.quorum, shown.as_object_mut()) {
        let missing: Vec<_> = quorum.missing.iter().map(NodeId::as_str).collect();
        let quorum = json!({
            "epoch": quorum.epoch,
            "voters": quorum.voters,
            "needed": quorum.needed,
            "missing": missing,
            "reached": quorum.has_majority,
        });
        shown.insert("quorum".into(), quorum);
    }
    ok(&shown)
}

/// `POST /v1/members/{id}/forget`.
pub(super) fn forget_member(service: &Service, id: &str) -> Result<Reply, ApiError> {
    service.forget_member(id)?;
    Ok(ok(&json!({ "forgotten": id })))
}

fn member(status: &MemberStatus, more: Value) -> Value {
    let mut shown = json!({
        "id": status.node,
        "addr": status.addr,
        "state": status.state.name(),
        "incarnation": status.incarnation,
    });
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    shown
}

/// `GET /v1/peers`.
pub(super) fn peers(service: &Service) -> Reply {
    let peers: Vec<_> = service
        .peers()
        .iter()
        .map(|(status, traffic)| peer(status, traffic))
        .collect();
    ok(&json!({ "peers": peers }))
}

fn peer(status: &PeerStatus, traffic: &TrafficStatus) -> Value {
    json!({
        "id": status.node.as_str(),
        "linked": status.linked,
        "streams": status.streams,
        "queue_bytes": status.queue_bytes,
        "dropped": status.dropped,
        "reconnects": traffic.reconnects,
        "repairs": status.repairs,
        "mismatched_sessions": status.mismatched_sessions,
        "sent": flow(traffic.sent),
        "received": flow(traffic.received),
        "ack_ms": traffic.ack_average.as_secs_f64() * 1000.0,
        "ack_ms_max": traffic.ack_longest.as_secs_f64() * 1000.0,
    })
}

fn flow(flow: Flow) -> Value {
    json!({
        "messages": flow.messages,
        "bytes": flow.bytes,
        "wire_bytes": flow.wire_bytes,
    })
}

/// `GET /v1/digest`.
pub(super) fn digest(service: &Service) -> Reply {
    let digest = service.digest();
    ok(&json!({ "sessions": digest.sessions, "hash": format!("{:016x}", digest.hash) }))
}

/// `POST /v1/selfcheck`.
pub(super) async fn selfcheck(service: &Service) -> Reply {
    let check = service.selfcheck().await;
    ok(&json!({
        "equal": check.differences.is_empty(),
        "records": check.records,
        "waiting": check.waiting,
        "differences": check.differences,
        "more": check.more,
    }))
}
