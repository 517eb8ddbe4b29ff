//! Workers: what there are, and what operators want of them.

use hyper::{Request, StatusCode};
use serde_json::json;

use super::reply::{ApiError, Reply, json};
use super::route::Context;
use super::sessions;
use crate::engine::workers::admin_state::AdminState;

/// Every worker of every known node.
pub(super) fn list(context: &Context) -> Reply {
    let table = context.node.with(|engine, now| engine.worker_table(now.wall_ms));
    let workers: Vec<_> = table
        .workers
        .iter()
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
    json(
        StatusCode::OK,
        &json!({ "version": table.version.to_string(), "workers": workers }),
    )
}

/// Says for the whole cluster what may be sent to the worker `route`.
pub(super) async fn direct<B>(
    context: &Context,
    route: &str,
    admin_state: AdminState,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let (level, timeout) = sessions::ack(context, request)?;
    let (written, status) = context.node.with(|engine, now| {
        let written = engine.direct(route, admin_state, now)?;
        let table = engine.worker_table(now.wall_ms);
        Ok::<_, ApiError>((written, table.by_route(route).map(|worker| worker.status)))
    })?;
    let copies = context.node.copies(level, timeout, written.write_set).await;
    Ok(json(
        StatusCode::OK,
        &json!({ "route": route, "status": status.map(|status| status.name()), "copies": copies }),
    ))
}
