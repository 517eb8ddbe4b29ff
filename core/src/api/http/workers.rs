//! Workers in JSON: the table, and what operators want of each.

use hyper::Request;
use serde_json::json;

use super::error::ApiError;
use super::reply::{Reply, ok};
use super::request::ack;
use crate::service::{AdminState, Service};

/// `GET /v1/workers`.
pub(super) fn list(service: &Service) -> Reply {
    let table = service.worker_table();
    let workers: Vec<_> = table
        .workers
        .iter()
        .filter(|worker| !worker.is_departed())
        .map(|worker| {
            json!({
                "route": worker.route,
                "url": worker.url,
                "weight": worker.weight,
                "status": worker.status.name(),
                "node": worker.node,
            })
        })
        .collect();
    ok(&json!({ "version": table.version.to_string(), "workers": workers }))
}

/// `POST /v1/workers/{route}/drain`, `/disable`, `/enable`.
pub(super) async fn set_admin_state<B>(
    service: &Service,
    route: &str,
    state: AdminState,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let ack = ack(service, request, &[])?;
    let outcome = service.set_admin_state(route, state, ack).await?;
    Ok(ok(&json!({
        "route": route,
        "status": outcome.status.map(|status| status.name()),
        "copies": outcome.copies,
    })))
}
