//! The exchange with the filters: the worker table one way, reports the other. Types in `limpet-wire`.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use limpet_wire::codec;
use limpet_wire::names::TABLE_WAIT_MAX_MS;
use limpet_wire::report::{OPERATIONS_MAX, Operation, Reply as ReportReply, Report};
use limpet_wire::table::TableVersion;

use super::reply::{ApiError, Reply, empty, with_type};
use super::route::{Context, only, query};
use super::sessions::{ack, body_bytes};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Patch, Refused};
use crate::session::AttributeFilter;

const BINARY: &str = "application/octet-stream";

/// The table, once it is another than the caller's, or 204 when it still is after the wait.
pub(super) async fn table<B>(context: &Context, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["after", "wait_ms"])?;
    let after: Option<TableVersion> = match query(request, "after") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| ApiError::Bad("after: <epoch>.<number> is expected".into()))?,
        ),
    };
    let wait = match query(request, "wait_ms") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::Bad("wait_ms: milliseconds are expected".into()))?,
    };
    let mut versions = context.node.table_versions();
    let changed = versions.wait_for(|version| Some(*version) != after);
    let waited = tokio::time::timeout(Duration::from_millis(wait.min(TABLE_WAIT_MAX_MS)), changed)
        .await
        .is_ok();
    let table = context.node.with(|engine, now| engine.worker_table(now.wall_ms));
    if !waited && Some(table.version) == after {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let bytes = codec::encode(&table).map_err(|error| ApiError::Bad(error.to_string()))?;
    Ok(with_type(StatusCode::OK, BINARY, bytes))
}

/// Applies a report, in order, and waits for its copies.
pub(super) async fn report(context: &Context, request: Request<Incoming>) -> Result<Reply, ApiError> {
    let (level, timeout) = ack(context, &request)?;
    let bytes = body_bytes(request, codec::MESSAGE_MAX).await?;
    let report: Report = codec::decode(&bytes).map_err(|error| ApiError::Bad(error.to_string()))?;
    if report.operations.len() > OPERATIONS_MAX {
        return Err(ApiError::Bad(format!(
            "a report holds at most {OPERATIONS_MAX} operations"
        )));
    }
    let (mut refused, mut keys, mut operations) = (Vec::new(), Vec::new(), Vec::new());
    for (index, operation) in (0..).zip(report.operations) {
        match SessionKey::parse(&operation.app, &operation.id) {
            Ok(key) => {
                keys.push(key);
                operations.push((index, operation));
            }
            Err(error) => refused.push((index, error.to_string())),
        }
    }
    context.node.make_local(&keys).await?;
    let write_set = context.node.with(|engine, now| {
        engine.check_ready()?;
        let replicate = &context.settings.replicate;
        Ok::<_, Refused>(engine.gather(|engine| {
            for (key, (index, operation)) in keys.iter().zip(operations) {
                if let Err(error) = apply(engine, key, operation, replicate, now) {
                    refused.push((index, error.to_string()));
                }
            }
        }))
    })?;
    refused.sort_unstable_by_key(|(index, _)| *index);
    let copies = context.node.copies(level, timeout, write_set).await;
    let reply = ReportReply {
        copies: u32::try_from(copies).unwrap_or(u32::MAX),
        refused,
    };
    let bytes = codec::encode(&reply).map_err(|error| ApiError::Bad(error.to_string()))?;
    Ok(with_type(StatusCode::OK, BINARY, bytes))
}

/// Does what one operation says.
fn apply(
    engine: &mut Engine,
    key: &SessionKey,
    mut operation: Operation,
    replicate: &AttributeFilter,
    now: Now,
) -> Result<(), Refused> {
    if operation.invalidate {
        engine.delete(key, now)?;
        return Ok(());
    }
    let given = operation.set.len();
    operation.set.retain(|(name, _)| replicate.keeps(name));
    engine.note_ignored(given - operation.set.len());
    let exists = engine.session(key, now).is_some();
    let changes = !operation.remove.is_empty() || operation.max_inactive.is_some();
    if !operation.set.is_empty() || (exists && changes) {
        let set = operation.set.into_iter();
        let patch = Patch {
            set: set.map(|(name, value)| (name, value.into())).collect(),
            remove: operation.remove,
            max_inactive: operation.max_inactive,
            route: operation.route,
            replace: false,
        };
        engine.patch(key, patch, now)?;
        return Ok(());
    }
    // A binding or a use of a session nobody keeps here is nothing to keep: the id may be the client's invention.
    if !exists {
        return Ok(());
    }
    if let Some(route) = &operation.route {
        engine.bind(key, route, now)?;
    }
    if operation.touch {
        engine.touch(key, now)?;
    }
    Ok(())
}
