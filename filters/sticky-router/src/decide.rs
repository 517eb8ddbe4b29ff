//! Which worker serves a request: the levels of the router, as a pure function.
//!
//! ```text
//! 1 token      the cookie made here, if it opens and is not too old       ┐ bound worker first, then
//! 2 route      the route in the session id, if a worker has it            ┘ the nodes that hold a copy
//! - balance    the proxy's balancer; among usable workers only
//! ```
//! Not here: opening tokens (their worth is handed in), headers, time, and what the response says.

use limpet_filters_common::config::{Prefer, SessionConfig};
use limpet_filters_common::cookies;
use limpet_filters_common::id::{self, Session, Source};
use limpet_filters_common::inbound::Request;
use limpet_wire::table::{Worker, WorkerTable};

use crate::config::Config;
use crate::destinations::{Destinations, balance};
use crate::token::Token;

/// Which level placed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The token cookie.
    Token,
    /// The route in the session id.
    Route,
    /// The proxy's balancer.
    Balance,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'t> {
    /// Which level decided.
    pub level: Level,
    /// Best first; empty: the balancer decides alone.
    pub workers: Vec<&'t Worker>,
    /// The route the request is bound to, as far as known.
    pub bound: Option<String>,
    /// The session the request carries.
    pub session: Option<Session>,
    /// Cookie and path name different routes.
    pub conflict: bool,
    /// `strict` is set and the bound worker cannot serve: answer 503.
    pub refused: bool,
}

impl Choice<'_> {
    /// The value of the destination header; `None`: no header.
    #[must_use]
    pub fn destination(&self) -> Option<String> {
        let mut workers = self.workers.iter();
        let mut text = workers.next()?.addr.clone();
        for worker in workers {
            text.push(',');
            text.push_str(&worker.addr);
        }
        Some(text)
    }

    fn first(&self) -> Option<&str> {
        self.workers.first().map(|worker| worker.route.as_str())
    }

    /// Whether the first destination is the session's bound worker.
    #[must_use]
    pub fn primary(&self) -> bool {
        self.session.is_some() && self.bound.is_some() && self.bound.as_deref() == self.first()
    }

    /// Whether the session's id names another route than the first destination.
    #[must_use]
    pub fn moved(&self) -> bool {
        let route = self.session.as_ref().and_then(|session| session.route.as_deref());
        matches!((route, self.first()), (Some(route), Some(first)) if route != first)
    }

    /// Whether a bound request goes elsewhere than to its worker.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        self.bound.is_some() && self.bound.as_deref() != self.first()
    }
}

/// Decides. `token` is what the token cookie is worth; `turn` differs from request to request and spreads those
/// without a binding.
#[must_use]
pub fn choose<'t>(
    request: &Request<'_>,
    config: &Config,
    table: Option<&'t WorkerTable>,
    token: &Token,
    turn: u64,
) -> Choice<'t> {
    let (session, conflict) = session(request, &config.session, table);
    let mut choice = Choice {
        level: Level::Balance,
        workers: Vec::new(),
        bound: None,
        session,
        conflict,
        refused: false,
    };
    let Some(table) = table else { return choice };
    let named = choice
        .session
        .as_ref()
        .and_then(|session| session.route.as_deref());
    let mut destinations = Destinations::new(table);
    choice.bound = match (token, named) {
        (Token::Valid(claims), named) => {
            choice.level = Level::Token;
            destinations.push(&claims.route);
            // The id may know of a later move than the token does.
            named.into_iter().for_each(|route| destinations.push(route));
            claims.fallbacks.iter().for_each(|route| destinations.push(route));
            Some(claims.route.clone())
        }
        (_, Some(route)) => {
            if table.by_route(route).is_some() {
                choice.level = Level::Route;
            }
            destinations.push(route);
            Some(route.to_owned())
        }
        (_, None) => None,
    };
    if let Some(bound) = &choice.bound {
        let usable = table.by_route(bound).map(Worker::takes_bound);
        choice.refused = config.strict && usable == Some(false);
        let id = choice.session.as_ref().map_or("", |session| session.id.as_str());
        // Of a route nobody has and no session to look for there is nothing to prefer: the request is as if new.
        if usable.is_some() || !id.is_empty() {
            destinations.push_holders(&config.app, id, bound);
        }
    }
    choice.workers = destinations.into_workers();
    if choice.workers.is_empty() {
        choice.workers = balance(table, turn);
    }
    choice
}

/// The session a request carries, and whether cookie and path disagree about its route. Of several cookies the
/// first one counts whose route a worker has, else the first one.
#[must_use]
pub fn session(
    request: &Request<'_>,
    config: &SessionConfig,
    table: Option<&WorkerTable>,
) -> (Option<Session>, bool) {
    let known = |session: &Session| {
        table
            .zip(session.route.as_deref())
            .is_some_and(|(table, route)| table.by_route(route).is_some())
    };
    let mut cookie: Option<Session> = None;
    for value in cookies::values(&request.cookies, &config.cookie) {
        let Some(found) = read_session(value, config, Source::Cookie) else {
            continue;
        };
        if known(&found) {
            cookie = Some(found);
            break;
        }
        cookie.get_or_insert(found);
    }
    let path = id::path_parameter(request.path, &config.path)
        .and_then(|value| read_session(value, config, Source::Path));
    let conflict = matches!((&cookie, &path), (Some(one), Some(two)) if one.route != two.route);
    let session = match config.prefer {
        Prefer::Cookie => cookie.or(path),
        Prefer::Path => path.or(cookie),
    };
    (session, conflict)
}

/// The id, without its route, of a session cookie's value.
#[must_use]
pub fn read_id(text: &[u8], config: &SessionConfig) -> Option<String> {
    read_session(text, config, Source::Cookie).map(|session| session.id)
}

fn read_session(text: &[u8], config: &SessionConfig, source: Source) -> Option<Session> {
    let (id, route) = if config.route {
        id::split(text)
    } else {
        (text, None)
    };
    Some(Session {
        id: id::valid(id)?.to_owned(),
        route: route.map(str::to_owned),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;
    use limpet_wire::table::WorkerStatus::{self, Disabled, Down, Draining, NotReady, Up};
    use limpet_wire::token::Claims;
    use proptest::prelude::*;
    use std::rc::Rc;

    fn valid(route: &str, fallbacks: &[&str]) -> Token {
        Token::Valid(Rc::new(Claims {
            app: "default".into(),
            route: route.into(),
            fallbacks: fallbacks.iter().map(|route| (*route).to_owned()).collect(),
            first_seen: 0,
            last_seen: 0,
        }))
    }

    fn request<'a>(path: &'a str, cookie: &'a str) -> Request<'a> {
        Request {
            path: path.as_bytes(),
            cookies: vec![cookie.as_bytes()],
            reserved: Vec::new(),
        }
    }

    /// Level and destinations for a request.
    fn decided(workers: &[(&str, WorkerStatus)], path: &str, cookie: &str, token: &Token) -> (Level, String) {
        let table = table(workers);
        let choice = choose(&request(path, cookie), &Config::default(), Some(&table), token, 0);
        (
            choice.level,
            choice.destination().unwrap_or_default().replace(":80", ""),
        )
    }

    #[test]
    fn levels_in_their_order() {
        const ALL: &[(&str, WorkerStatus)] = &[("n1", Up), ("n2", Up)];
        let none = Token::Absent;
        for (path, cookie, token, expected) in [
            ("/", "", &none, (Level::Balance, "")),
            ("/", "", &valid("n1", &["n2"]), (Level::Token, "n1,n2")),
            ("/", "JSESSIONID=abc.n2", &none, (Level::Route, "n2,n1")),
            ("/", "JSESSIONID=\"abc.n2\"", &none, (Level::Route, "n2,n1")),
            ("/a;jsessionid=abc.n2/b", "", &none, (Level::Route, "n2,n1")),
            ("/a?;jsessionid=abc.n2", "", &none, (Level::Balance, "")),
            (
                "/",
                "JSESSIONID=abc.n2",
                &valid("n1", &[]),
                (Level::Token, "n1,n2"),
            ),
            (
                "/;jsessionid=abc.n1",
                "JSESSIONID=abc.n2",
                &none,
                (Level::Route, "n2,n1"),
            ),
            ("/", "JSESSIONID=abc", &none, (Level::Balance, "")),
            ("/", "JSESSIONID=abc.N2", &none, (Level::Balance, "n1,n2")),
            (
                "/",
                "JSESSIONID=x.gone; JSESSIONID=y.n2",
                &none,
                (Level::Route, "n2,n1"),
            ),
            ("/", "JSESSIONID=abc.n2", &Token::Refused, (Level::Route, "n2,n1")),
            ("/", "", &Token::Expired, (Level::Balance, "")),
        ] {
            let (level, destinations) = decided(ALL, path, cookie, token);
            // Where only copies are left to choose from, their order is the placement's business.
            let same = destinations == expected.1 || (destinations.len() == 5 && cookie.ends_with("N2"));
            assert!(
                level == expected.0 && same,
                "{path} {cookie} {token:?}: {level:?} {destinations}"
            );
        }
    }

    #[test]
    fn who_cannot_serve_is_passed_over() {
        for status in [Down, Disabled, NotReady] {
            let workers = [("n1", status), ("n2", Up), ("n3", Up)];
            let (_, destinations) = decided(&workers, "/", "JSESSIONID=abc.n1", &Token::Absent);
            assert_eq!(
                destinations.matches("n1").count(),
                0,
                "{status:?}: {destinations}"
            );
            let (level, destinations) = decided(&workers, "/", "", &valid("n1", &["n3", "n2"]));
            assert_eq!((level, destinations.as_str()), (Level::Token, "n3,n2"));
            let (_, destinations) = decided(&workers, "/", "JSESSIONID=abc.n2", &valid("n1", &["n3"]));
            assert_eq!(destinations, "n2,n3", "the id knows of a later move");
            let (_, destinations) = decided(&workers, "/", "", &Token::Absent);
            assert!(
                !destinations.contains("n1") && destinations.len() == 5,
                "{destinations}"
            );
        }
    }

    #[test]
    fn a_draining_worker_keeps_its_own() {
        let workers = [("n1", Draining), ("n2", Up)];
        assert_eq!(
            decided(&workers, "/", "JSESSIONID=abc.n1", &Token::Absent).1,
            "n1,n2"
        );
        assert_eq!(decided(&workers, "/", "", &Token::Absent).1, "n2");
    }

    #[test]
    fn without_a_table_or_a_usable_worker_nothing_is_said() {
        let choice = choose(
            &request("/", "JSESSIONID=abc.n1"),
            &Config::default(),
            None,
            &Token::Absent,
            0,
        );
        assert_eq!((choice.level, choice.destination()), (Level::Balance, None));
        assert_eq!(choice.session.unwrap().id, "abc");
        assert_eq!(
            decided(&[("n1", Down)], "/", "JSESSIONID=abc.n1", &Token::Absent).1,
            ""
        );
        assert_eq!(decided(&[], "/", "JSESSIONID=abc.n1", &Token::Absent).1, "");
    }

    #[test]
    fn strict_refuses_only_what_a_known_worker_cannot_serve() {
        let table = table(&[("n1", Down), ("n2", Up)]);
        let config = Config {
            strict: true,
            ..Config::default()
        };
        for (cookie, refused) in [
            ("abc.n1", true),
            ("abc.n2", false),
            ("abc.gone", false),
            ("abc", false),
        ] {
            let cookie = format!("JSESSIONID={cookie}");
            let choice = choose(&request("/", &cookie), &config, Some(&table), &Token::Absent, 0);
            assert_eq!(choice.refused, refused, "{cookie}");
        }
    }

    #[test]
    fn primary_and_moved() {
        let table = table(&[("n1", Up), ("n2", Down), ("n3", Draining)]);
        for (cookie, token, primary, moved) in [
            ("JSESSIONID=abc.n1", Token::Absent, true, false),
            ("JSESSIONID=abc.n2", Token::Absent, false, true),
            ("JSESSIONID=abc", Token::Absent, false, false),
            ("JSESSIONID=abc", valid("n1", &[]), true, false),
            ("JSESSIONID=abc.n3", valid("n1", &[]), true, true),
            ("", valid("n1", &[]), false, false),
        ] {
            let choice = choose(&request("/", cookie), &Config::default(), Some(&table), &token, 0);
            assert_eq!(
                (choice.primary(), choice.moved()),
                (primary, moved),
                "{cookie} {token:?}"
            );
        }
    }

    #[test]
    fn cookie_and_path_that_disagree() {
        let both = request("/;jsessionid=two.n2", "JSESSIONID=one.n1");
        let mut config = SessionConfig::default();
        let (session_one, conflict) = session(&both, &config, None);
        assert!(conflict && session_one.unwrap().id == "one", "Tomcat's rule");
        config.prefer = Prefer::Path;
        let (session_two, conflict) = session(&both, &config, None);
        assert!(
            conflict && session_two.unwrap().source == Source::Path,
            "httpd's rule"
        );
        assert!(!session(&request("/;jsessionid=b.n1", "JSESSIONID=a.n1"), &config, None).1);
    }

    #[test]
    fn ids_with_dots_of_their_own() {
        let config = SessionConfig {
            route: false,
            ..SessionConfig::default()
        };
        let (found, _) = session(&request("/", "JSESSIONID=s:abc.n1"), &config, None);
        assert_eq!(
            found,
            Some(Session {
                id: "s:abc.n1".into(),
                route: None,
                source: Source::Cookie
            })
        );
    }

    proptest! {
        #[test]
        fn survives_any_bytes(path: Vec<u8>, cookie: Vec<u8>, turn: u64) {
            let table = table(&[("n1", Up), ("n2", Down)]);
            let cookie = [b"JSESSIONID=", cookie.as_slice()].concat();
            let request = Request { path: &path, cookies: vec![&cookie], reserved: Vec::new() };
            let choice = choose(&request, &Config::default(), Some(&table), &Token::Absent, turn);
            prop_assert_eq!(choice.destination(), Some("n1:80".to_owned()));
        }
    }
}
