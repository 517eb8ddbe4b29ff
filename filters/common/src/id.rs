//! The syntax of session ids: the id a session is stored under, and the route behind its first dot.
//!
//! `abc.node1` is session `abc` on route `node1`; `abc.d1.node1` is session `abc` on route `d1.node1` (the first
//! dot divides, as in Tomcat and httpd). Case counts. An id in a path is a parameter of a segment,
//! `/shop;jsessionid=abc.node1/cart?x`, read before any percent-decoding, as Tomcat does, so `%3B` starts none.
//! Which of several ids counts is decided in [`crate::session`].

use limpet_wire::report::{ID_MAX, NAME_MAX};

/// Splits at the first dot into id and route. The route is `None` where it is empty, longer than [`NAME_MAX`] bytes
/// or not visible ASCII.
#[must_use]
pub fn split(text: &[u8]) -> (&[u8], Option<&str>) {
    let Some(dot) = text.iter().position(|byte| *byte == b'.') else {
        return (text, None);
    };
    let (id, rest) = text.split_at_checked(dot).unwrap_or((text, &[]));
    (id, rest.get(1..).and_then(|route| visible(route, NAME_MAX)))
}

/// The id as text, if a core would store it: 1 to [`ID_MAX`] bytes of visible ASCII without `;`, `,`, quotes and
/// backslashes, which no cookie value holds (RFC 6265 section 4.1.1).
#[must_use]
pub fn valid(id: &[u8]) -> Option<&str> {
    visible(id, ID_MAX)
}

fn visible(text: &[u8], max: usize) -> Option<&str> {
    let fits = !text.is_empty()
        && text.len() <= max
        && text
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'"' | b'\\'));
    if fits {
        std::str::from_utf8(text).ok()
    } else {
        None
    }
}

/// The value of the first path parameter `name`, in any segment before the query. An empty `name` finds nothing.
#[must_use]
pub fn path_parameter<'a>(path: &'a [u8], name: &str) -> Option<&'a [u8]> {
    if name.is_empty() {
        return None;
    }
    path.split(|byte| matches!(byte, b'?' | b'#'))
        .next()?
        .split(|byte| *byte == b'/')
        .flat_map(|segment| segment.split(|byte| *byte == b';').skip(1))
        .find_map(|parameter| parameter.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_dot_divides() {
        assert_eq!(split(b"abc.node1"), (&b"abc"[..], Some("node1")));
        assert_eq!(split(b"abc.d1.node1"), (&b"abc"[..], Some("d1.node1")));
        assert_eq!(split(b".node1"), (&b""[..], Some("node1")));
        assert_eq!(split(b"abc."), (&b"abc"[..], None));
        assert_eq!(split(b"abc"), (&b"abc"[..], None));
        assert_eq!(split(b"abc.n\xff"), (&b"abc"[..], None));
    }

    #[test]
    fn ids_are_visible_ascii_within_the_limit() {
        assert_eq!(valid(b"F00"), Some("F00"));
        for bad in [
            &b""[..],
            b"a b",
            b"a\x00",
            b"\xc3\xa4",
            b"a;b",
            b"a\"b",
            &[b'a'; ID_MAX + 1],
        ] {
            assert_eq!(valid(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn parameters_of_any_segment_and_never_of_the_query() {
        let found = |path: &str| path_parameter(path.as_bytes(), "jsessionid").map(<[u8]>::to_vec);
        assert_eq!(found("/a;jsessionid=x.n1/b"), Some(b"x.n1".to_vec()));
        assert_eq!(found("/a/b;v=1;jsessionid=x.n1?q"), Some(b"x.n1".to_vec()));
        assert_eq!(found("/;jsessionid=one/;jsessionid=two"), Some(b"one".to_vec()));
        for none in [
            "/a?b;jsessionid=x",
            "/a%3Bjsessionid=x",
            "/jsessionid=x",
            "/a;JSESSIONID=x",
            "/a;xjsessionid=x",
        ] {
            assert_eq!(found(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes: Vec<u8>) {
            let (id, _) = split(&bytes);
            let _ = valid(id);
            let _ = path_parameter(&bytes, "jsessionid");
        }
    }
}
