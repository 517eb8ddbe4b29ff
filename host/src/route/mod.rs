//! Routes: which cluster serves a request. A route with a host comes before one without, and a longer prefix before a
//! shorter one. Which worker of the cluster is next is left to `upstream`.

use std::sync::Arc;

use crate::message::head::RequestHead;

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in `route_name`.
    pub name: Arc<str>,
    /// The host it is for, lower case, without a port; any host where there is none.
    pub host: Option<String>,
    /// What the path begins with.
    pub prefix: String,
    /// The cluster, by position.
    pub cluster: usize,
}

/// Orders routes as [`find`] looks at them: those with a host first, then the longest prefix; otherwise as written.
pub fn order(routes: &mut [Route]) {
    routes.sort_by_key(|route| (route.host.is_none(), std::cmp::Reverse(route.prefix.len())));
}

/// The route of a request, in ordered `routes`.
#[must_use]
pub fn find<'r>(routes: &'r [Route], head: &RequestHead) -> Option<&'r Route> {
    let path = head.path.path();
    routes
        .iter()
        .find(|route| path.starts_with(&route.prefix) && route.host.as_ref().is_none_or(|h| is_for(h, head)))
}

fn is_for(host: &str, head: &RequestHead) -> bool {
    let given = head
        .headers
        .get(http::header::HOST)
        .map_or(&b""[..], |value| value.as_bytes());
    let name = match given {
        // An address in brackets has colons of its own.
        [b'[', ..] => given
            .split_inclusive(|byte| *byte == b']')
            .next()
            .unwrap_or(given),
        _ => given.split(|byte| *byte == b':').next().unwrap_or(given),
    };
    name.eq_ignore_ascii_case(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};

    fn route(host: Option<&str>, prefix: &str, cluster: usize) -> Route {
        Route {
            name: prefix.into(),
            host: host.map(Into::into),
            prefix: prefix.into(),
            cluster,
        }
    }

    fn check(routes: &[Route], host: &str, path: &str, expected: Option<usize>) {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        let head = RequestHead {
            method: Method::GET,
            path: path.parse().unwrap(),
            scheme: HeaderValue::from_static("http"),
            headers,
        };
        assert_eq!(
            find(routes, &head).map(|route| route.cluster),
            expected,
            "{host}{path}"
        );
    }

    #[test]
    fn host_first_then_the_longest_prefix() {
        let mut routes = vec![
            route(None, "/", 0),
            route(None, "/a/", 1),
            route(Some("b"), "/", 2),
            route(Some("[::1]"), "/", 3),
        ];
        order(&mut routes);
        check(&routes, "x", "/", Some(0));
        check(&routes, "x", "/a/b?c", Some(1));
        check(&routes, "x", "/a", Some(0));
        check(&routes, "B:8080", "/a/b", Some(2));
        check(&routes, "[::1]:80", "/", Some(3));
        check(&routes[..2], "x", "/b", None);
    }
}
