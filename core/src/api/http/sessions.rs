//! Sessions in JSON: values in base64, versions as the service writes them, durations as in the configuration.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::Request;
use hyper::body::Incoming;
use limpet_wire::report::IdleLimit;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::reply::{Reply, ok};
use super::request::{ack, body_json, only, query, query_as};
use crate::base::id::SessionKey;
use crate::base::units::duration;
use crate::service::{Ack, Condition, Consistency, InUse, Outcome, Patch, Service, Summary};

/// How many sessions one page of the list holds when the caller does not say.
const PAGE: usize = 100;
/// The most sessions one page holds.
const PAGE_MAX: usize = 1000;

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

/// `GET /v1/sessions/{app}/{id}`.
pub(super) async fn read(service: &Service, key: &SessionKey) -> Result<Reply, ApiError> {
    let session = service.read(key, Consistency::Holder).await?;
    let attributes: Map<_, _> = session
        .attributes
        .iter()
        .map(|(name, value)| (name.to_string(), STANDARD.encode(value).into()))
        .collect();
    let mut shown = summary(&session.summary);
    shown.insert("attributes".into(), attributes.into());
    Ok(ok(&shown))
}

/// `GET /v1/sessions`.
pub(super) async fn list<B>(service: &Service, request: &Request<B>) -> Result<Reply, ApiError> {
    only(request, &["app", "limit", "after"])?;
    let expected = format!("a number from 1 to {PAGE_MAX}");
    let limit = query_as(request, "limit", &expected, |text| {
        text.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit))
    })?;
    let app = query(request, "app");
    let after = query_as(request, "after", "the `next` of a page", read_cursor)?;
    let page = service.list(app.as_deref(), after, limit.unwrap_or(PAGE)).await?;
    let sessions: Vec<_> = page.sessions.iter().map(summary).collect();
    Ok(ok(
        &json!({ "sessions": sessions, "next": page.next.as_ref().map(cursor) }),
    ))
}

/// `PATCH /v1/sessions/{app}/{id}`.
pub(super) async fn patch(
    service: &Service,
    key: &SessionKey,
    request: Request<Incoming>,
) -> Result<Reply, ApiError> {
    let (ack, condition) = conditional(service, &request)?;
    let patch = patch_of(body_json(request).await?)?;
    Ok(changed(&service.patch(key, patch, condition, ack).await?))
}

/// `PUT /v1/sessions/{app}/{id}`.
pub(super) async fn replace(
    service: &Service,
    key: &SessionKey,
    request: Request<Incoming>,
) -> Result<Reply, ApiError> {
    let (ack, condition) = conditional(service, &request)?;
    let patch = patch_of(body_json(request).await?)?;
    Ok(changed(&service.replace(key, patch, condition, ack).await?))
}

/// `DELETE /v1/sessions/{app}/{id}`.
pub(super) async fn delete<B>(
    service: &Service,
    key: &SessionKey,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let (ack, condition) = conditional(service, request)?;
    Ok(changed(&service.delete(key, condition, ack).await?))
}

/// `POST /v1/sessions/{app}/{id}/touch`.
pub(super) async fn touch<B>(
    service: &Service,
    key: &SessionKey,
    request: &Request<B>,
) -> Result<Reply, ApiError> {
    let ack = ack(service, request, &[])?;
    Ok(changed(&service.touch(key, ack).await?))
}

/// `POST /v1/sessions/{app}/{id}/rename`.
pub(super) async fn rename(
    service: &Service,
    key: &SessionKey,
    request: Request<Incoming>,
) -> Result<Reply, ApiError> {
    let ack = ack(service, &request, &["replace"])?;
    let in_use = query_as(&request, "replace", "true or false", |text| match text {
        "true" => Some(InUse::Replace),
        "false" => Some(InUse::Refuse),
        _ => None,
    })?;
    let body: RenameBody = body_json(request).await?;
    let to = SessionKey::parse(key.app(), &body.to).map_err(|error| ApiError::Bad(format!("to: {error}")))?;
    let in_use = in_use.unwrap_or(InUse::Refuse);
    Ok(changed(&service.rename(key, &to, in_use, ack).await?))
}

/// What a change waits for, and what has to hold for it.
fn conditional<B>(service: &Service, request: &Request<B>) -> Result<(Ack, Option<Condition>), ApiError> {
    let ack = ack(service, request, &["if"])?;
    let expected = "absent, present, version:<version> or life:<life>, as an answer gave them,";
    let condition = query_as(request, "if", expected, |text| text.parse().ok())?;
    Ok((ack, condition))
}

/// The answer to a change.
fn changed(outcome: &Outcome) -> Reply {
    let mut answer = json!({
        "id": outcome.key.id(),
        "version": outcome.version.to_string(),
        "life": outcome.life.to_string(),
        "copies": outcome.copies,
    });
    if let (Some(answer), false) = (answer.as_object_mut(), outcome.ignored.is_empty()) {
        answer.insert("ignored".into(), json!(outcome.ignored));
    }
    ok(&answer)
}

/// Everything but the values.
fn summary(session: &Summary) -> Map<String, Value> {
    let fields = json!({
        "app": session.key.app(),
        "id": session.key.id(),
        "route": session.route.as_deref(),
        "version": session.version.to_string(),
        "life": session.life.to_string(),
        "size": session.size,
        "created_ms": session.life.began_ms(),
        "age_ms": session.age_ms,
        "idle_ms": session.idle_ms,
        "max_inactive_ms": match session.max_inactive {
            IdleLimit::Forever => None,
            IdleLimit::Millis(ms) => Some(ms),
        },
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn patch_of(body: PatchBody) -> Result<Patch, ApiError> {
    let mut patch = Patch {
        remove: body.remove,
        route: body.route,
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
    Ok(patch)
}

/// An idle lifetime: a duration, or `-1` for ever.
fn idle_limit(text: &str) -> Result<IdleLimit, String> {
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

/// Where a page ended, as text that a query takes as it is. Apps and ids may hold every visible character, the slash
/// included, so they are not put side by side.
fn cursor(last: &SessionKey) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}\0{}", last.app(), last.id()))
}

fn read_cursor(text: &str) -> Option<SessionKey> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (app, id) = std::str::from_utf8(&bytes).ok()?.split_once('\0')?;
    SessionKey::received(app, id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_one_session_whatever_its_app_is_called() {
        for (app, id) in [("default", "S1"), ("localhost/shop", "a/b"), ("a", "%2F&#+")] {
            let key = SessionKey::parse(app, id).unwrap();
            let text = cursor(&key);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
                "{text}"
            );
            assert_eq!(read_cursor(&text), Some(key));
        }
        for bad in ["", "shop/S1", "AAAA", "c2hvcA"] {
            assert_eq!(read_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_idle_lifetime_is_a_duration_or_for_ever() {
        assert_eq!(idle_limit("30m"), Ok(IdleLimit::Millis(1_800_000)));
        assert_eq!(idle_limit("-1"), Ok(IdleLimit::Forever));
        for bad in ["0ms", "30", "-2", "soon"] {
            assert!(idle_limit(bad).is_err(), "{bad}");
        }
    }
}
