//! Which handler answers a request: the path's segments, then the method.

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::error::ApiError;
use super::reply::{Reply, refusal};
use super::request::{key, segment};
use super::{events, filter, metrics, sessions, status, workers};
use crate::service::{AdminState, Service};

/// Answers `request`.
pub(super) async fn answer(service: &Service, request: Request<Incoming>) -> Reply {
    match find(service, request).await {
        Ok(reply) => reply,
        Err(error) => refusal(&error),
    }
}

async fn find(service: &Service, request: Request<Incoming>) -> Result<Reply, ApiError> {
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
        ["readyz"] => {
            is(Method::GET, "GET")?;
            status::ready(service, &request)
        }
        ["metrics"] => is(Method::GET, "GET").map(|()| metrics::page(service)),
        ["v1", "members"] => is(Method::GET, "GET").map(|()| status::members(service)),
        ["v1", "members", id, "forget"] => {
            is(Method::POST, "POST")?;
            status::forget_member(service, &segment(id)?)
        }
        ["v1", "peers"] => is(Method::GET, "GET").map(|()| status::peers(service)),
        ["v1", "selfcheck"] => {
            is(Method::POST, "POST")?;
            Ok(status::selfcheck(service).await)
        }
        ["v1", "digest"] => is(Method::GET, "GET").map(|()| status::digest(service)),
        ["v1", "events"] => {
            is(Method::GET, "GET")?;
            events::listen(service, &request)
        }
        ["v1", "workers"] => is(Method::GET, "GET").map(|()| workers::list(service)),
        ["v1", "workers", route, state] => {
            let state = AdminState::parse(state).ok_or(ApiError::NoSuchPath)?;
            is(Method::POST, "POST")?;
            workers::set_admin_state(service, &segment(route)?, state, &request).await
        }
        ["v1", "filter", "table"] => {
            is(Method::GET, "GET")?;
            filter::table(service, &request).await
        }
        ["v1", "filter", "report"] => {
            is(Method::POST, "POST")?;
            filter::report(service, request).await
        }
        ["v1", "sessions"] => {
            is(Method::GET, "GET")?;
            sessions::list(service, &request).await
        }
        ["v1", "sessions", app, id] => {
            let key = key(app, id)?;
            match method {
                Method::GET => sessions::read(service, &key).await,
                Method::PATCH => sessions::patch(service, &key, request).await,
                Method::PUT => sessions::replace(service, &key, request).await,
                Method::DELETE => sessions::delete(service, &key, &request).await,
                _ => Err(ApiError::Method("GET, PUT, PATCH, DELETE")),
            }
        }
        ["v1", "sessions", app, id, "touch"] => {
            is(Method::POST, "POST")?;
            sessions::touch(service, &key(app, id)?, &request).await
        }
        ["v1", "sessions", app, id, "rename"] => {
            is(Method::POST, "POST")?;
            sessions::rename(service, &key(app, id)?, request).await
        }
        _ => Err(ApiError::NoSuchPath),
    }
}
