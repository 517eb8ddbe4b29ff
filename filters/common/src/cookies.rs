//! The reader of cookies: the `Cookie` headers of a request and the `Set-Cookie` headers of a response, as bytes.
//!
//! Lenient, as servers are (RFC 6265 section 5.4): several headers, repeated names, quoted values and bytes that are
//! not UTF-8 are accepted. Values are not decoded, and what a cookie means is left to the callers.

/// The most cookies of one request that are read; later ones reach the worker unread.
pub const COOKIES_MAX: usize = 1024;

/// The values of every cookie `name` (case counts) of all `Cookie` headers, in order, without quotes.
pub fn values<'a>(headers: &[&'a [u8]], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .flat_map(|header| header.split(|byte| *byte == b';'))
        .take(COOKIES_MAX)
        .filter_map(move |cookie| value_of(cookie, name))
}

/// All `Cookie` headers as one, without the cookies called `name`. `None` where no cookie has that name; empty where
/// no other cookie is left.
#[must_use]
pub fn without(headers: &[&[u8]], name: &str) -> Option<Vec<u8>> {
    let cookies = || {
        headers
            .iter()
            .flat_map(|header| header.split(|byte| *byte == b';'))
    };
    cookies().find(|cookie| value_of(cookie, name).is_some())?;
    let mut kept = Vec::with_capacity(headers.iter().map(|header| header.len() + 2).sum());
    for cookie in cookies().filter(|cookie| value_of(cookie, name).is_none()) {
        let cookie = cookie.trim_ascii();
        if cookie.is_empty() {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(cookie);
    }
    Some(kept)
}

fn value_of<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = cookie.trim_ascii_start().strip_prefix(name.as_bytes())?;
    Some(unquoted(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii()))
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// A `Set-Cookie` header, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// The value, without quotes.
    pub value: &'a [u8],
    /// Everything from the first `;` on, including it.
    pub attributes: &'a [u8],
}

impl<'a> SetCookie<'a> {
    /// Reads a `Set-Cookie` header that sets `name`; `None` when it sets another cookie.
    #[must_use]
    pub fn parse(header: &'a [u8], name: &str) -> Option<Self> {
        let end = header
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(header.len());
        let (cookie, attributes) = header.split_at_checked(end)?;
        Some(Self {
            value: value_of(cookie, name)?,
            attributes,
        })
    }

    /// Whether it deletes the cookie: an empty value, `Max-Age` of zero or less, or an `Expires` in 1970, which is
    /// what servers send to that end.
    #[must_use]
    pub fn deletes(&self) -> bool {
        self.value.is_empty()
            || self.attributes.split(|byte| *byte == b';').any(|attribute| {
                let mut sides = attribute.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
                match (sides.next(), sides.next()) {
                    (Some(name), Some(value)) if name.eq_ignore_ascii_case(b"max-age") => {
                        matches!(value, [b'-', ..]) || (!value.is_empty() && value.iter().all(|b| *b == b'0'))
                    }
                    (Some(name), Some(value)) if name.eq_ignore_ascii_case(b"expires") => {
                        value.windows(4).any(|year| year == b"1970")
                    }
                    _ => false,
                }
            })
    }

    /// The same header with another value.
    #[must_use]
    pub fn with_value(&self, name: &str, value: &str) -> Vec<u8> {
        [name.as_bytes(), b"=", value.as_bytes(), self.attributes].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(headers: &[&str], name: &str) -> Vec<String> {
        let headers: Vec<&[u8]> = headers.iter().map(|header| header.as_bytes()).collect();
        values(&headers, name)
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    #[test]
    fn several_headers_duplicates_and_quotes() {
        assert_eq!(all(&["a=1; b=2", "a=3;a=\"4\""], "a"), ["1", "3", "4"]);
        assert_eq!(all(&["  a = 1 ;b"], "a"), ["1"]);
        assert_eq!(all(&["aa=1; xa=2; A=3; a"], "a"), [""; 0]);
        assert_eq!(all(&["a=1=2"], "a"), ["1=2"]);
    }

    #[test]
    fn bytes_that_are_not_text_do_not_hide_other_cookies() {
        let header: &[u8] = b"x=\xff\xfe; LIMPET=t\x80; y=1";
        assert_eq!(values(&[header], "LIMPET").collect::<Vec<_>>(), [b"t\x80"]);
        assert_eq!(without(&[header], "LIMPET").unwrap(), b"x=\xff\xfe; y=1");
    }

    #[test]
    fn two_hundred_cookies() {
        let header: String = (0..200).map(|n| format!("c{n}=v{n}; ")).collect();
        assert_eq!(all(&[&header], "c199"), ["v199"]);
        let left = without(&[header.as_bytes()], "c0").unwrap();
        assert_eq!(left.iter().filter(|byte| **byte == b'=').count(), 199);
    }

    #[test]
    fn removal_says_whether_anything_changed() {
        assert_eq!(without(&[b"a=1; b=2"], "c"), None);
        assert_eq!(without(&[b"a=1"], "a"), Some(Vec::new()));
        assert_eq!(
            without(&[b"a=1; b=2", b"a=3; c=4"], "a"),
            Some(b"b=2; c=4".to_vec())
        );
    }

    #[test]
    fn set_cookie_in_parts() {
        let header = b"JSESSIONID=abc.n1; Path=/shop; HttpOnly";
        let cookie = SetCookie::parse(header, "JSESSIONID").unwrap();
        assert_eq!(cookie.value, b"abc.n1");
        assert!(!cookie.deletes());
        assert_eq!(
            cookie.with_value("JSESSIONID", "abc.n2"),
            b"JSESSIONID=abc.n2; Path=/shop; HttpOnly"
        );
        assert_eq!(SetCookie::parse(header, "OTHER"), None);
        assert_eq!(SetCookie::parse(b"JSESSIONID", "JSESSIONID"), None);
    }

    #[test]
    fn deletions() {
        for header in [
            "a=",
            "a=x; Max-Age=0",
            "a=x; max-age=-1",
            "a=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert!(
                SetCookie::parse(header.as_bytes(), "a").unwrap().deletes(),
                "{header}"
            );
        }
        for header in [
            "a=x",
            "a=x; Max-Age=10",
            "a=x; Max-Age=",
            "a=x; Expires=Thu, 01 Jan 2099 00:00:00 GMT",
        ] {
            assert!(
                !SetCookie::parse(header.as_bytes(), "a").unwrap().deletes(),
                "{header}"
            );
        }
    }

    proptest! {
        #[test]
        fn survives_any_bytes(headers: Vec<Vec<u8>>) {
            let headers: Vec<&[u8]> = headers.iter().map(Vec::as_slice).collect();
            values(&headers, "a").for_each(drop);
            let _ = without(&headers, "a");
            for header in headers {
                if let Some(cookie) = SetCookie::parse(header, "a") {
                    let _ = cookie.deletes();
                }
            }
        }

        #[test]
        fn a_removed_cookie_is_removed_everywhere(before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            let header = format!("{before}; a=1; {after}");
            let left = without(&[header.as_bytes()], "a").unwrap();
            prop_assert_eq!(values(&[&left], "a").count(), 0);
        }
    }
}
