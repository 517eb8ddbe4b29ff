//! Sessions in JSON.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use limpet_wire::report::IdleLimit;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reply::{ApiError, Reply, json};
use super::route::{Context, only, query};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::base::limits::API_BODY_MAX;
use crate::config::duration;
use crate::engine::Engine;
use crate::engine::sessions::{Patch, Refused, Written};
use crate::replication::acks::Level;
use crate::session::Record;

/// How many sessions one page of the list holds when the caller does not say.
const PAGE: usize = 100;
/// The most sessions one page holds.
const PAGE_MAX: usize = 1000;

/// How many records are looked at for one page.
const LOOKED_AT_MAX: usize = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
    max_inactive: Option<String>,
    route: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RenameBody {
    to: String,
}

pub(super) async fn get(context: &Context, key: &SessionKey) -> Result<Reply, ApiError> {
    context.node.make_local(std::slice::from_ref(key)).await?;
    context.node.with(|engine, now| {
        engine.check_ready()?;
        let key = &*engine.current_key(key, now);
        let record = engine.find(key, now)?;
        let attributes: Map<_, _> = record
            .values()
            .map(|(name, value)| (name.to_string(), STANDARD.encode(value).into()))
            .collect();
        let mut shown = summary(key, record, now);
        shown.insert("attributes".into(), attributes.into());
        Ok(json(StatusCode::OK, &shown))
    })
}

pub(super) fn list<B>(context: &Context, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["app", "limit", "after"])?;
    let limit = match query(request, "limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_MAX).contains(limit))
            .ok_or_else(|| ApiError::Bad(format!("limit: a number from 1 to {PAGE_MAX} is expected")))?,
    };
    let app = query(request, "app");
    // `after` is the `next` of the page before: app and id, with a slash between.
    let after = query(request, "after").map(|text| {
        let (app, id) = text.split_once('/').unwrap_or(("", &text));
        SessionKey::new(app, id)
    });
    let page = context.node.with(|engine, now| {
        engine.check_ready()?;
        Ok::<_, Refused>(page(engine, app.as_deref(), after.as_ref(), limit, now))
    })?;
    Ok(json(StatusCode::OK, &page))
}

/// One page, in the order of the buckets and of the keys in each: no more of the table is looked at than
/// [`LOOKED_AT_MAX`] records or one bucket, so a page of a rare app may be short, or empty, and still have a next.
fn page(engine: &Engine, app: Option<&str>, after: Option<&SessionKey>, limit: usize, now: Now) -> Value {
    let (mut sessions, mut looked_at, mut next) = (Vec::new(), 0, None);
    let first = after.map_or(0, SessionKey::bucket);
    let buckets = (first..).map_while(|index| engine.table().bucket(index));
    'buckets: for (skipped, bucket) in buckets.enumerate() {
        for (key, record) in bucket.ordered(after.filter(|_| skipped == 0)) {
            if sessions.len() >= limit || looked_at >= LOOKED_AT_MAX {
                break 'buckets;
            }
            looked_at += 1;
            next = Some(format!("{}/{}", key.app(), key.id()));
            let wanted = !key.is_reserved() && app.is_none_or(|app| key.app() == app);
            if wanted && engine.session(key, now).is_some() {
                sessions.push(summary(key, record, now));
            }
        }
    }
    let full = sessions.len() >= limit || looked_at >= LOOKED_AT_MAX;
    json!({ "sessions": sessions, "next": next.filter(|_| full) })
}

/// Everything but the values.
fn summary(key: &SessionKey, record: &Record, now: Now) -> Map<String, Value> {
    let created_ms = record.life().map(|life| life.wall_ms());
    let fields = json!({
        "app": key.app(),
        "id": key.id(),
        "route": record.route.as_ref().map(|r| r.value.to_string()),
        "version": version(record.version()),
        "size": record.size(),
        "created_ms": created_ms,
        "age_ms": created_ms.map(|at| now.wall_ms.saturating_sub(at)),
        "idle_ms": record.last_touch.map(|last_touch| now.wall_ms.saturating_sub(last_touch.at_ms)),
        "max_inactive_ms": record.max_inactive.as_ref().and_then(|r| match r.value {
            IdleLimit::Forever => None,
            IdleLimit::Millis(ms) => Some(ms),
        }),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(super) fn version(stamp: crate::session::Stamp) -> String {
    format!("{:x}-{:x}", stamp.time, stamp.node)
}

/// Changes a session; `replace` leaves it with nothing but what the body sets.
pub(super) async fn patch(
    context: &Context,
    key: &SessionKey,
    request: Request<Incoming>,
    replace: bool,
) -> Result<Reply, ApiError> {
    let ack = ack(context, &request)?;
    let body: PatchBody = body_json(request).await?;
    if replace && !body.remove.is_empty() {
        return Err(ApiError::Bad(
            "remove: a replacement removes what it does not set; use PATCH to name what goes".into(),
        ));
    }
    let mut patch = Patch {
        remove: body.remove,
        route: body.route,
        replace,
        ..Patch::default()
    };
    for (name, value) in body.set {
        let text = value
            .as_str()
            .ok_or_else(|| ApiError::Bad(format!("set.{name}: a base64 string is expected")))?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| ApiError::Bad(format!("set.{name}: not base64: {error}")))?;
        patch.set.push((name, bytes.into()));
    }
    if let Some(text) = body.max_inactive {
        patch.max_inactive =
            Some(idle_limit(&text).map_err(|e| ApiError::Bad(format!("max_inactive: {e}")))?);
    }
    context.node.make_local(std::slice::from_ref(key)).await?;
    let ignored = patch.keep(&context.settings.replicate);
    let written = context.node.with(|engine, now| {
        engine.note_ignored(ignored.len());
        engine.patch(key, patch, now)
    })?;
    let mut answer = acknowledgement(context, ack, written).await;
    if !ignored.is_empty() {
        answer.insert("ignored".into(), ignored.into());
    }
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn delete<B>(
    context: &Context,
    key: &SessionKey,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let ack = ack(context, request)?;
    context.node.make_local(std::slice::from_ref(key)).await?;
    let written = context.node.with(|engine, now| engine.delete(key, now))?;
    Ok(acknowledged(context, ack, written).await)
}

pub(super) async fn touch<B>(
    context: &Context,
    key: &SessionKey,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let ack = ack(context, request)?;
    context.node.make_local(std::slice::from_ref(key)).await?;
    let written = context.node.with(|engine, now| engine.touch(key, now))?;
    Ok(acknowledged(context, ack, written).await)
}

pub(super) async fn rename(
    context: &Context,
    key: &SessionKey,
    request: Request<Incoming>,
) -> Result<Reply, ApiError> {
    let ack = ack(context, &request)?;
    let body: RenameBody = body_json(request).await?;
    let to = SessionKey::parse(key.app(), &body.to).map_err(|error| ApiError::Bad(format!("to: {error}")))?;
    if to == *key {
        return Err(ApiError::Bad("to: this is the id the session already has".into()));
    }
    context.node.make_local(&[key.clone(), to.clone()]).await?;
    let written = context.node.with(|engine, now| engine.rename(key, &to, now))?;
    Ok(acknowledged(context, ack, written).await)
}

async fn acknowledged(context: &Context, ack: (Level, Duration), written: Written) -> Reply {
    json(StatusCode::OK, &acknowledgement(context, ack, written).await)
}

async fn acknowledgement(
    context: &Context,
    (level, timeout): (Level, Duration),
    written: Written,
) -> Map<String, Value> {
    let copies = context.node.copies(level, timeout, written.write_set).await;
    [
        ("id", written.key.id().into()),
        ("version", version(written.version).into()),
        ("copies", copies.into()),
    ]
    .into_iter()
    .map(|(name, value): (&str, Value)| (name.to_owned(), value))
    .collect()
}

/// How many copies the caller wants and how long it waits: its own words, or the configuration's.
pub(super) fn ack<B>(context: &Context, request: &Request<B>) -> Result<(Level, Duration), ApiError> {
    only(request, &["ack", "timeout_ms"])?;
    let level = match query(request, "ack") {
        None => context.settings.ack,
        Some(name) => Level::parse(&name)
            .ok_or_else(|| ApiError::Bad("ack: none, one, quorum or all is expected".into()))?,
    };
    let timeout = match query(request, "timeout_ms") {
        None => context.settings.ack_timeout,
        Some(text) => text
            .parse()
            .map(|ms: u64| Duration::from_millis(ms).min(context.settings.ack_timeout))
            .map_err(|_| ApiError::Bad("timeout_ms: a number of milliseconds is expected".into()))?,
    };
    Ok((level, timeout))
}

/// An idle lifetime: a duration, or `-1` for ever.
pub(super) fn idle_limit(text: &str) -> Result<IdleLimit, String> {
    if text == "-1" {
        return Ok(IdleLimit::Forever);
    }
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err("more than nothing is expected, or \"-1\" for ever".into());
    }
    Ok(IdleLimit::Millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
}

/// The whole body, if it is not larger than `max`.
pub(super) async fn body_bytes(request: Request<Incoming>, max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(max)),
        Err(error) => Err(ApiError::Bad(format!("the body cannot be read: {error}"))),
    }
}

async fn body_json<T: for<'a> Deserialize<'a>>(request: Request<Incoming>) -> Result<T, ApiError> {
    let bytes = body_bytes(request, API_BODY_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Bad(format!("the body is not what is expected: {error}")))
}
