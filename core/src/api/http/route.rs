//! Which handler answers a request: the path's segments, then the method.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::reply::{ApiError, Reply};
use super::server::Settings;
use super::{events, filter, peers, sessions, status, workers};
use crate::base::id::SessionKey;
use crate::drivers::node::Node;
use crate::engine::workers::admin_state::AdminState;

/// What handlers share.
#[derive(Debug, Clone)]
pub(super) struct Context {
    /// The node.
    pub(super) node: Arc<Node>,
    /// The configuration, as it was when the request came.
    pub(super) settings: Arc<Settings>,
}

/// Answers `request`.
pub(super) async fn answer(context: &Context, request: Request<Incoming>) -> Reply {
    match find(context, request).await {
        Ok(reply) => reply,
        Err(error) => error.reply(),
    }
}

async fn find(context: &Context, request: Request<Incoming>) -> Result<Reply, ApiError> {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let is = |wanted: Method, name| {
        if method == wanted {
            Ok(())
        } else {
            Err(ApiError::Method(name))
        }
    };
    match segments.as_slice() {
        ["healthz"] => is(Method::GET, "GET").map(|()| status::alive()),
        ["readyz"] => is(Method::GET, "GET").map(|()| status::ready(context)),
        ["metrics"] => is(Method::GET, "GET").map(|()| status::metrics(context)),
        ["v1", "members"] => is(Method::GET, "GET").map(|()| status::members(context)),
        ["v1", "peers"] => is(Method::GET, "GET").map(|()| peers::list(context)),
        ["v1", "selfcheck"] => is(Method::POST, "POST").map(|()| status::selfcheck(context)),
        ["v1", "workers"] => is(Method::GET, "GET").map(|()| workers::list(context)),
        ["v1", "workers", route, word] => {
            let admin_state = AdminState::parse(word).ok_or(ApiError::NoSuchPath)?;
            is(Method::POST, "POST")?;
            let route = decode(route)
                .ok_or_else(|| ApiError::Bad("the path is not valid percent-encoded text".into()))?;
            workers::direct(context, &route, admin_state, &request).await
        }
        ["v1", "events"] => {
            is(Method::GET, "GET")?;
            events::listen(context, &request)
        }
        ["v1", "digest"] => is(Method::GET, "GET").map(|()| status::digest(context)),
        ["v1", "filter", "table"] => {
            is(Method::GET, "GET")?;
            filter::table(context, &request).await
        }
        ["v1", "filter", "report"] => {
            is(Method::POST, "POST")?;
            filter::report(context, request).await
        }
        ["v1", "sessions"] => {
            is(Method::GET, "GET")?;
            sessions::list(context, &request)
        }
        ["v1", "sessions", app, id] => {
            let key = key(app, id)?;
            match method {
                Method::GET => sessions::get(context, &key).await,
                Method::PATCH => sessions::patch(context, &key, request, false).await,
                Method::PUT => sessions::patch(context, &key, request, true).await,
                Method::DELETE => sessions::delete(context, &key, &request).await,
                _ => Err(ApiError::Method("GET, PUT, PATCH, DELETE")),
            }
        }
        ["v1", "sessions", app, id, "touch"] => {
            is(Method::POST, "POST")?;
            sessions::touch(context, &key(app, id)?, &request).await
        }
        ["v1", "sessions", app, id, "rename"] => {
            is(Method::POST, "POST")?;
            sessions::rename(context, &key(app, id)?, request).await
        }
        _ => Err(ApiError::NoSuchPath),
    }
}

fn key(app: &str, id: &str) -> Result<SessionKey, ApiError> {
    let bad = || ApiError::Bad("the path is not valid percent-encoded text".into());
    let (app, id) = (decode(app).ok_or_else(bad)?, decode(id).ok_or_else(bad)?);
    SessionKey::parse(&app, &id).map_err(|error| ApiError::Bad(error.to_string()))
}

/// Percent-decoding, RFC 3986 section 2.1. `None` for a broken escape or bytes that are no UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits)
                .ok()
                .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The value of `name` in the query; the first if there are several.
pub(super) fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    let pairs = request
        .uri()
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .next()
        .and_then(decode)
}

/// Refuses query parameters nobody reads: a misspelt `ack` must not silently mean `none`.
pub(super) fn only<B>(request: &Request<B>, known: &[&str]) -> Result<(), ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let names = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap_or(pair));
    match names.into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(ApiError::Bad(format!(
            "unknown query parameter {name}; known: {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding() {
        assert_eq!(decode("a%20b%2Fc").as_deref(), Some("a b/c"));
        for broken in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }
}
