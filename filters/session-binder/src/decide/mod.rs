//! The decision of the binder: what a response means for its session, as a pure function.
//!
//! ```text
//! the id's route is not the serving worker's    takeover: new route in the cookie, new binding for the core
//! the response begins a session                 its binding, for the core
//! limpet-session-* headers                      a delta, for the core
//! any other response of a session               a touch, for the core
//! ```
//! Changing headers and sending reports is left to [`crate::stream`]; how often a session is touched, to
//! [`crate::touches`].

mod takeover;

use limpet_filters_common::fields::{Delta, FieldError, Lines};
use limpet_filters_common::session::{self, Session, Source};
use limpet_wire::names;
use limpet_wire::report::Operation;

use crate::config::Config;

/// A response, as far as the binder reads it.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a, H> {
    /// The session of its request.
    pub session: Option<&'a Session>,
    /// The route of the worker that served it; `None` where the table has no such worker, or no worker did.
    pub served: Option<&'a str>,
    /// Its headers.
    pub headers: H,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actions {
    /// Header names to remove, because they are not for the client.
    pub remove: Vec<Vec<u8>>,
    /// The values to replace all `Set-Cookie` headers with, where one of them changes.
    pub cookies: Option<Vec<Vec<u8>>>,
    /// Changes of sessions, to be reported; the response waits for them where the configuration says so.
    pub deltas: Vec<Operation>,
    /// The session's new binding, to be reported.
    pub binding: Option<Operation>,
    /// The session's touch, to be reported unless that was done within the interval.
    pub touch: Option<Operation>,
    /// The session moved to another worker.
    pub takeover: bool,
    /// There is a delta, and no session it belongs to.
    pub without_session: bool,
    /// Fields that were dropped.
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
    let begun = session::begun(set_cookies.iter().copied(), &config.session)
        .filter(|id| response.session.is_none_or(|session| session.id != *id));
    if let Some(served) = response.served {
        actions.bind(config, response.session, served, &set_cookies, begun.as_deref());
    }
    if let Some((delta, errors)) = lines.parse() {
        actions.errors = errors;
        let current = response.session.map(|session| session.id.as_str());
        actions.apply(config, delta, current, begun.as_deref(), response.served);
    }
    actions.drop_covered();
    actions
}

impl Actions {
    /// What it means that the worker `served` responded: to the request's session, and to the one it begins.
    fn bind(
        &mut self,
        config: &Config,
        session: Option<&Session>,
        served: &str,
        set_cookies: &[&[u8]],
        begun: Option<&str>,
    ) {
        if let Some(session) = session {
            let report = operation(config, &session.id, Some(served));
            if session.route.as_deref().is_some_and(|route| route != served) {
                self.takeover = true;
                if session.source == Source::Cookie {
                    self.cookies = takeover::rewrite(&config.session, session, served, set_cookies);
                }
                self.binding = Some(report);
            } else {
                self.touch = Some(report);
            }
        }
        if let Some(id) = begun {
            self.binding = Some(operation(config, id, Some(served)));
            self.touch = None;
        }
    }

    /// What a delta means. It ends the `current` session, that of the request; what it sets belongs to the session the
    /// client has after this response.
    fn apply(
        &mut self,
        config: &Config,
        delta: Delta,
        current: Option<&str>,
        begun: Option<&str>,
        served: Option<&str>,
    ) {
        if delta.invalidate {
            match current.or(begun) {
                Some(id) => self.deltas.push(Operation {
                    invalidate: true,
                    ..of_session(config, id)
                }),
                None => self.without_session = true,
            }
        }
        let target = if delta.invalidate {
            begun.filter(|_| current.is_some())
        } else {
            begun.or(current)
        };
        match target {
            Some(id) if delta.changes() => self.deltas.push(Operation {
                set: delta.set,
                remove: delta.remove,
                max_inactive: delta.max_inactive,
                ..operation(config, id, served)
            }),
            None if delta.changes() && !delta.invalidate => self.without_session = true,
            _ => {}
        }
    }

    /// Drops the binding and the touch of a session that has a delta: a delta carries both, and a deleted session
    /// needs neither.
    fn drop_covered(&mut self) {
        let deltas = &self.deltas;
        let covered = |report: &mut Operation| deltas.iter().any(|delta| delta.id == report.id);
        self.binding.take_if(covered);
        self.touch.take_if(covered);
    }
}

/// A touch of the session `id` that binds it to the worker `served`.
fn operation(config: &Config, id: &str, served: Option<&str>) -> Operation {
    Operation {
        route: served.map(str::to_owned),
        touch: true,
        ..of_session(config, id)
    }
}

/// An operation on the session `id` that changes nothing.
fn of_session(config: &Config, id: &str) -> Operation {
    Operation {
        app: config.app.clone(),
        id: id.to_owned(),
        ..Operation::default()
    }
}

#[cfg(test)]
mod tests;
