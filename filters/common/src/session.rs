//! The session of a message: read from a request's cookie or path parameter, or from a response's `Set-Cookie`.
//!
//! Both filters read sessions here and nowhere else, so that they mean the same session by the same request. The
//! syntax of ids is [`crate::id`]'s; which worker a route leads to is the router's decision.

use crate::capture::{Capture, Reads};
use crate::config::{Prefer, SessionConfig};
use crate::cookies::{self, SetCookie};
use crate::id;

/// Where a request carries its session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the session cookie.
    Cookie,
    /// In a path parameter.
    Path,
}

/// A session id as a request carried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The id without its route; visible ASCII, 1 to [`limpet_wire::report::ID_MAX`] bytes.
    pub id: String,
    /// The route behind the first dot; visible ASCII, 1 to [`limpet_wire::report::NAME_MAX`] bytes.
    pub route: Option<String>,
    /// Where it was found.
    pub source: Source,
}

/// What a request says about its session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The session; `None` where the request carries no valid id.
    pub session: Option<Session>,
    /// Cookie and path name different routes.
    pub conflict: bool,
}

/// What has to be captured for [`read`] under `config`.
#[must_use]
pub fn reads(config: &SessionConfig) -> Reads {
    let reads = Reads::default().cookies();
    if config.path.is_empty() {
        reads
    } else {
        reads.path()
    }
}

/// Reads the session of a request. Of several session cookies the first one counts whose route is `known` to the
/// worker table, else the first valid one: a browser that kept cookies of two paths sends both.
#[must_use]
pub fn read(capture: &Capture<'_>, config: &SessionConfig, known: impl Fn(&str) -> bool) -> Found {
    let mut cookie: Option<Session> = None;
    for value in cookies::values(&capture.cookies, &config.cookie) {
        let Some(found) = parse(value, config, Source::Cookie) else {
            continue;
        };
        if found.route.as_deref().is_some_and(&known) {
            cookie = Some(found);
            break;
        }
        cookie.get_or_insert(found);
    }
    let path =
        id::path_parameter(capture.path, &config.path).and_then(|value| parse(value, config, Source::Path));
    let conflict = matches!((&cookie, &path), (Some(one), Some(two)) if one.route != two.route);
    let session = match config.prefer {
        Prefer::Cookie => cookie.or(path),
        Prefer::Path => path.or(cookie),
    };
    Found { session, conflict }
}

/// The id, without its route, of the session that a response gives the client: that of its first `Set-Cookie` for
/// the session cookie which does not delete it.
#[must_use]
pub fn begun<'a>(set_cookies: impl IntoIterator<Item = &'a [u8]>, config: &SessionConfig) -> Option<String> {
    let cookie = set_cookies
        .into_iter()
        .filter_map(|header| SetCookie::parse(header, &config.cookie))
        .find(|cookie| !cookie.deletes())?;
    parse(cookie.value, config, Source::Cookie).map(|session| session.id)
}

fn parse(text: &[u8], config: &SessionConfig, source: Source) -> Option<Session> {
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
    use proptest::prelude::*;

    fn capture<'a>(path: &'a str, cookie: &'a str) -> Capture<'a> {
        Capture {
            path: path.as_bytes(),
            cookies: vec![cookie.as_bytes()],
            ..Capture::default()
        }
    }

    fn session(id: &str, route: Option<&str>, source: Source) -> Option<Session> {
        Some(Session {
            id: id.into(),
            route: route.map(str::to_owned),
            source,
        })
    }

    #[test]
    fn cookie_and_path_that_disagree() {
        let both = capture("/;jsessionid=two.n2", "JSESSIONID=one.n1");
        let mut config = SessionConfig::default();
        let found = read(&both, &config, |_| false);
        assert_eq!(
            found.session,
            session("one", Some("n1"), Source::Cookie),
            "Tomcat's rule"
        );
        assert!(found.conflict);
        config.prefer = Prefer::Path;
        let found = read(&both, &config, |_| false);
        assert_eq!(
            found.session,
            session("two", Some("n2"), Source::Path),
            "httpd's rule"
        );
        assert!(found.conflict);
        let same_route = capture("/;jsessionid=b.n1", "JSESSIONID=a.n1");
        assert!(!read(&same_route, &config, |_| false).conflict);
    }

    #[test]
    fn of_several_cookies_the_one_with_a_known_route_counts() {
        let several = capture("/", "JSESSIONID=x.gone; JSESSIONID=y.n2; JSESSIONID=z.n2");
        let config = SessionConfig::default();
        let id = |known: fn(&str) -> bool| read(&several, &config, known).session.unwrap().id;
        assert_eq!(id(|route| route == "n2"), "y");
        assert_eq!(id(|_| false), "x");
    }

    #[test]
    fn ids_with_dots_of_their_own() {
        let config = SessionConfig {
            route: false,
            ..SessionConfig::default()
        };
        assert_eq!(
            read(&capture("/", "JSESSIONID=s:abc.n1"), &config, |_| true).session,
            session("s:abc.n1", None, Source::Cookie)
        );
    }

    #[test]
    fn a_response_begins_the_session_of_its_first_cookie_that_is_not_deleted() {
        let id = |headers: &[&str]| {
            begun(
                headers.iter().map(|header| header.as_bytes()),
                &SessionConfig::default(),
            )
        };
        assert_eq!(id(&["x=1", "JSESSIONID=new.n1; Path=/"]).unwrap(), "new");
        assert_eq!(id(&["JSESSIONID=; Max-Age=0", "JSESSIONID=new"]).unwrap(), "new");
        assert_eq!(id(&["JSESSIONID=old; Max-Age=0"]), None);
        assert_eq!(id(&["x=1"]), None);
    }

    #[test]
    fn the_path_is_captured_only_where_a_parameter_is_configured() {
        let mut config = SessionConfig::default();
        assert_eq!(reads(&config), Reads::default().cookies().path());
        config.path = String::new();
        assert_eq!(reads(&config), Reads::default().cookies());
    }

    proptest! {
        #[test]
        fn survives_any_bytes(path: Vec<u8>, cookie: Vec<u8>) {
            let cookie = [b"JSESSIONID=", cookie.as_slice()].concat();
            let capture = Capture { path: &path, cookies: vec![&cookie], ..Capture::default() };
            let _ = read(&capture, &SessionConfig::default(), |_| true);
            let _ = begun([cookie.as_slice()], &SessionConfig::default());
        }
    }
}
