//! The exchange with the filters, in the binary encoding of `limpet-wire`: the worker table one way, reports the
//! other.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use limpet_wire::codec::{self, EncodeError};
use limpet_wire::names::{CORE_TIME, TABLE_WAIT_MAX_MS};
use limpet_wire::report::{OPERATIONS_MAX, Reply as ReportReply, Report};

use super::error::ApiError;
use super::reply::{Reply, empty, with_type};
use super::request::{ack, body_bytes, only, query_as};
use crate::service::Service;

const BINARY: &str = "application/octet-stream";

/// `GET /v1/filter/table`: the table once it is another than the caller's, or 204 when it still is that one after the
/// wait. 503 while this node joins and does not know every member's workers.
pub(super) async fn table<B>(service: &Service, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["after", "wait_ms"])?;
    let known = query_as(request, "after", "<epoch>.<number>", |text| text.parse().ok())?;
    let wait_ms = query_as(request, "wait_ms", "a number of milliseconds", |text| {
        text.parse().ok()
    })?;
    let wait = Duration::from_millis(wait_ms.unwrap_or(0).min(TABLE_WAIT_MAX_MS));
    let mut reply = match service.worker_table_after(known, wait).await? {
        Some(table) => binary(codec::encode(&table))?,
        None => empty(StatusCode::NO_CONTENT),
    };
    let time = HeaderValue::from(service.now_ms());
    reply.headers_mut().insert(CORE_TIME, time);
    Ok(reply)
}

/// `POST /v1/filter/report`: applies a report, in order, and waits for its copies.
pub(super) async fn report(service: &Service, request: Request<Incoming>) -> Result<Reply, ApiError> {
    let ack = ack(service, &request, &[])?;
    let bytes = body_bytes(request, codec::MESSAGE_MAX).await?;
    let report: Report = codec::decode(&bytes).map_err(|error| ApiError::Bad(error.to_string()))?;
    if report.operations.len() > OPERATIONS_MAX {
        return Err(ApiError::Bad(format!(
            "a report holds at most {OPERATIONS_MAX} operations"
        )));
    }
    let applied = service.apply(report.operations, ack).await?;
    let refused = applied.refused.into_iter();
    binary(codec::encode(&ReportReply {
        copies: u32::try_from(applied.copies).unwrap_or(u32::MAX),
        refused: refused.map(|(index, error)| (index, error.to_string())).collect(),
    }))
}

fn binary(message: Result<Vec<u8>, EncodeError>) -> Result<Reply, ApiError> {
    let bytes = message.map_err(|error| ApiError::Bad(error.to_string()))?;
    Ok(with_type(StatusCode::OK, BINARY, bytes))
}
