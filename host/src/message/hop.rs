//! Hop-by-hop fields: fields that belong to one connection and are removed before a message is forwarded (RFC 9110,
//! section 7.6.1). A caller that honours `Upgrade` takes it out first.

use http::header::{
    CONNECTION, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The fields that never pass, named by a `Connection` line or not. `Trailer` stays: it describes the message.
const ALWAYS: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a field needs any work here: one of [`ALWAYS`], or `TE`.
fn concerns(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Fields that a `Connection` line cannot remove: without them the message would mean something else to the next
/// reader, which is how requests are smuggled past filters. Reserved fields stay too: the client's own were removed
/// before, and the ones left are written by filters for the worker.
const KEPT: [HeaderName; 4] = [
    http::header::HOST,
    http::header::CONTENT_LENGTH,
    http::header::COOKIE,
    http::header::SET_COOKIE,
];

/// The options one `Connection` line may name before the rest is ignored.
const OPTIONS_MAX: usize = 64;

/// Removes every hop-by-hop field, those named by any `Connection` line included. `TE: trailers` stays, because
/// trailers are passed on.
pub fn strip(headers: &mut HeaderMap) {
    // One look at every name is cheaper than a search for each of these.
    if !headers.keys().any(concerns) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        let lines: Vec<_> = headers.get_all(CONNECTION).iter().cloned().collect();
        for option in lines.iter().flat_map(|line| options(line.as_bytes())) {
            if let Ok(name) = HeaderName::from_bytes(option)
                && !KEPT.contains(&name)
                && !limpet_wire::names::is_reserved(option)
            {
                headers.remove(name);
            }
        }
    }
    for name in &ALWAYS {
        headers.remove(name);
    }
    if let Some(te) = headers.remove(TE)
        && options(te.as_bytes()).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    {
        headers.insert(TE, http::HeaderValue::from_static("trailers"));
    }
}

/// Removes what must not appear in a trailer section (RFC 9110, section 6.5.1).
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::HOST,
        TRAILER,
        http::header::CONTENT_TYPE,
    ] {
        trailers.remove(name);
    }
}

/// The protocol a message wants to change to: an `Upgrade` field that a `Connection` line names
/// (RFC 9110, section 7.8).
#[must_use]
pub fn upgrade(headers: &HeaderMap) -> Option<http::HeaderValue> {
    let value = headers.get(UPGRADE)?;
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| options(line.as_bytes()))
        .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        .then(|| value.clone())
}

fn options(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
        .take(OPTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        map
    }

    fn check(lines: &[(&str, &str)], left: &[&str]) {
        let mut map = headers(lines);
        strip(&mut map);
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, left, "{lines:?}");
    }

    #[test]
    fn rfc9110_7_6_1_every_connection_line_counts() {
        check(
            &[
                ("connection", "keep-alive, X-One"),
                ("Connection", "x-two"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-three", "3"),
                ("keep-alive", "timeout=5"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
            ],
            &["x-three"],
        );
    }

    #[test]
    fn what_gives_a_message_its_meaning_cannot_be_named_away() {
        check(
            &[
                ("connection", "host, content-length, cookie"),
                ("host", "a"),
                ("content-length", "1"),
                ("cookie", "c"),
            ],
            &["content-length", "cookie", "host"],
        );
    }

    #[test]
    fn te_trailers_stays_and_nothing_else_of_it() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers")]);
        strip(&mut map);
        assert_eq!(map[TE], "trailers");
    }

    #[test]
    fn every_such_field_is_looked_for() {
        for name in ALWAYS.iter().chain([&TE]) {
            assert!(concerns(name), "{name}");
        }
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_names_it() {
        assert!(upgrade(&headers(&[("upgrade", "websocket")])).is_none());
        assert!(
            upgrade(&headers(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket")
            ]))
            .is_some()
        );
    }
}
