//! What a response means for its session: pure, `(request's session, response, who served it) -> actions`.
//!
//! ```text
//! id's route is not the serving worker's    takeover: the cookie gets the new route, the core the new binding
//! limpet-session-* headers                  a delta for the core
//! a session not seen for a while            a touch
//! ```
//! Not here: sending anything, and who may be told what when.

use limpet_filters_common::config::SessionConfig;
use limpet_filters_common::cookies::SetCookie;
use limpet_filters_common::fields::{FieldError, Lines};
use limpet_filters_common::id;
use limpet_filters_common::session::{self, Session, Source};
use limpet_wire::names;
use limpet_wire::report::Operation;

use crate::config::Config;

/// A response, as far as the binder cares.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a, H> {
    /// The session its request carried.
    pub session: Option<&'a Session>,
    /// The route of the worker that made it; `None` when that is not in the table, or no worker made it.
    pub served: Option<&'a str>,
    /// Its headers.
    pub headers: H,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actions {
    /// Header names to remove: the client may not see them.
    pub remove: Vec<Vec<u8>>,
    /// All `Set-Cookie` headers anew, when one of them changes.
    pub cookies: Option<Vec<Vec<u8>>>,
    /// Changes of sessions: to be reported, and waited for where the configuration says so.
    pub deltas: Vec<Operation>,
    /// The session's binding, to be reported now.
    pub binding: Option<Operation>,
    /// The session's use, to be reported if that was not done lately.
    pub touch: Option<Operation>,
    /// The session moved to another worker.
    pub takeover: bool,
    /// A delta that belongs to no session.
    pub homeless: bool,
    /// Fields that were left out.
    pub errors: Vec<FieldError>,
}

/// Decides.
#[must_use]
pub fn respond<'h, H>(config: &Config, response: &Response<'_, H>) -> Actions
where
    H: Iterator<Item = (&'h [u8], &'h [u8])> + Clone,
{
    let mut actions = Actions::default();
    let mut lines = Lines::default();
    let mut set_cookies: Vec<&[u8]> = Vec::new();
    for (name, value) in response.headers.clone() {
        if name.eq_ignore_ascii_case(b"set-cookie") {
            set_cookies.push(value);
        } else if names::is_reserved(name) {
            lines.add(name, value);
            actions.remove.push(name.to_vec());
        }
    }
    actions.remove.sort_unstable();
    actions.remove.dedup();
    let begun = session::begun(set_cookies.iter().copied(), &config.session);

    if let (Some(session), Some(served)) = (response.session, response.served) {
        let moved = session.route.as_deref().is_some_and(|route| route != served);
        if moved {
            actions.takeover = true;
            if session.source == Source::Cookie {
                actions.cookies = rebind(&config.session, session, served, &set_cookies);
            }
            actions.binding = Some(operation(config, &session.id, response.served));
        } else {
            actions.touch = Some(operation(config, &session.id, response.served));
        }
    }
    let new = begun.filter(|id| response.session.is_none_or(|session| session.id != *id));
    if let (Some(id), Some(_)) = (&new, response.served) {
        actions.binding = Some(operation(config, id, response.served));
        actions.touch = None;
    }
    if let Some((delta, errors)) = lines.parse() {
        actions.errors = errors;
        let old = response.session.map(|session| session.id.as_str());
        // What ends is the session of the request; what is set belongs to the one the client has from now on.
        if delta.invalidate {
            match old.or(new.as_deref()) {
                Some(id) => actions.deltas.push(Operation {
                    invalidate: true,
                    ..ended(config, id)
                }),
                None => actions.homeless = true,
            }
        }
        let lives = if delta.invalidate {
            new.as_deref().filter(|_| old.is_some())
        } else {
            new.as_deref().or(old)
        };
        match lives {
            Some(id) if delta.changes() => actions.deltas.push(Operation {
                set: delta.set,
                remove: delta.remove,
                max_inactive: delta.max_inactive,
                ..operation(config, id, response.served)
            }),
            None if delta.changes() && !delta.invalidate => actions.homeless = true,
            _ => {}
        }
    }
    // A delta tells the core everything a binding or a touch would, and nothing is told of a session that ended.
    let told = |other: &Option<Operation>, deltas: &[Operation]| {
        other
            .as_ref()
            .is_some_and(|other| deltas.iter().any(|delta| delta.id == other.id))
    };
    if told(&actions.binding, &actions.deltas) {
        actions.binding = None;
    }
    if told(&actions.touch, &actions.deltas) {
        actions.touch = None;
    }
    actions
}

/// The `Set-Cookie` headers after a takeover; `None` when they stay as they are. A worker that sets the session
/// cookie itself is right about everything but another worker's route; one that does not gets the cookie written
/// for it.
fn rebind(
    config: &SessionConfig,
    session: &Session,
    served: &str,
    set_cookies: &[&[u8]],
) -> Option<Vec<Vec<u8>>> {
    let name = &config.cookie;
    let mut own = false;
    let mut changed = false;
    let mut cookies: Vec<Vec<u8>> = set_cookies
        .iter()
        .map(|header| {
            let Some(cookie) = SetCookie::parse(header, name) else {
                return header.to_vec();
            };
            own = true;
            match id::split(cookie.value) {
                (id, Some(route)) if route != served && !cookie.deletes() => match id::valid(id) {
                    Some(id) => {
                        changed = true;
                        cookie.with_value(name, &format!("{id}.{served}"))
                    }
                    None => header.to_vec(),
                },
                _ => header.to_vec(),
            }
        })
        .collect();
    if !own {
        let secure = if config.secure { "; Secure" } else { "" };
        let (id, path) = (&session.id, &config.cookie_path);
        cookies.push(format!("{name}={id}.{served}; Path={path}; HttpOnly{secure}").into_bytes());
    }
    (changed || !own).then_some(cookies)
}

fn operation(config: &Config, id: &str, served: Option<&str>) -> Operation {
    Operation {
        route: served.map(str::to_owned),
        touch: true,
        ..ended(config, id)
    }
}

fn ended(config: &Config, id: &str) -> Operation {
    Operation {
        app: config.app.clone(),
        id: id.to_owned(),
        ..Operation::default()
    }
}

#[cfg(test)]
mod tests;
