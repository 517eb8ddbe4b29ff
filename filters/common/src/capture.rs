//! The capture: what the filters read of one request, taken in one pass when the request starts.
//!
//! ```text
//! configuration ──► Reads ──► Snapshot::take (host calls) ──► Snapshot::capture ──► pure decisions
//! ```
//! [`Reads`] is what the configuration makes necessary; [`Snapshot::take`] is the only place that fetches it, because
//! request headers cannot be read any more once the response has begun; [`Capture`] is the view that decisions get.
//! All headers cost one host call, the source address one more, and only where it is read. What the values mean
//! (sessions, tokens) is left to [`crate::session`] and the router's levels.

use limpet_wire::names;

use crate::hostcalls::{self, Map};
use crate::pairs::Pairs;

/// What is read of every request of one plugin. Headers reserved for Limpet are always read, to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    path: bool,
    cookies: bool,
    source_address: bool,
    headers: Vec<String>,
}

impl Reads {
    /// Reads path and query.
    #[must_use]
    pub fn path(mut self) -> Self {
        self.path = true;
        self
    }

    /// Reads every `Cookie` header.
    #[must_use]
    pub fn cookies(mut self) -> Self {
        self.cookies = true;
        self
    }

    /// Reads the header `name`, in any case. The number of names is bounded by the configuration they come from.
    #[must_use]
    pub fn header(mut self, name: &str) -> Self {
        if !self.has_header(name.as_bytes()) {
            self.headers.push(name.to_ascii_lowercase());
        }
        self
    }

    /// Reads the address the client connected from; one host call more for every request.
    #[must_use]
    pub fn source_address(mut self) -> Self {
        self.source_address = true;
        self
    }

    fn has_header(&self, name: &[u8]) -> bool {
        self.headers
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// The bytes the proxy gave for one request. [`Capture`] borrows from it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pairs: Vec<u8>,
    source_address: Option<Vec<u8>>,
}

impl Snapshot {
    /// Fetches what `reads` names. Call it in the request headers callback; `None` where the proxy has no headers.
    #[must_use]
    pub fn take(reads: &Reads) -> Option<Self> {
        Some(Self {
            pairs: hostcalls::header_pairs(Map::RequestHeaders)?,
            source_address: reads
                .source_address
                .then(|| hostcalls::property(b"source\0address"))
                .flatten(),
        })
    }

    /// The view of what `reads` names, by one walk over the header pairs.
    #[must_use]
    pub fn capture(&self, reads: &Reads) -> Capture<'_> {
        let mut capture = Capture {
            source_address: self.source_address.as_deref().unwrap_or_default(),
            ..Capture::default()
        };
        for (name, value) in Pairs::new(&self.pairs) {
            if name == b":path" {
                capture.path = if reads.path { value } else { &[] };
            } else if name.eq_ignore_ascii_case(b"cookie") {
                if reads.cookies {
                    capture.cookies.push(value);
                }
            } else if names::is_reserved(name) {
                capture.reserved.push(name);
            } else if reads.has_header(name) {
                capture.headers.push((name, value));
            }
        }
        capture.reserved.sort_unstable();
        capture.reserved.dedup();
        capture
    }
}

/// One request as the decisions see it. What [`Reads`] does not name is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture<'a> {
    /// Path and query, as sent.
    pub path: &'a [u8],
    /// The value of every `Cookie` header, in order.
    pub cookies: Vec<&'a [u8]>,
    /// `ip:port` of the client's connection, as the proxy writes it.
    pub source_address: &'a [u8],
    /// The names of reserved headers the client sent, each once.
    pub reserved: Vec<&'a [u8]>,
    /// Name and value of every header [`Reads::header`] names, in order.
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Capture<'a> {
    /// The values of the header `name` (any case), in order.
    pub fn header(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// Removes the client's reserved headers from the request; one host call for each name.
    pub fn remove_reserved(&self) {
        for name in &self.reserved {
            hostcalls::remove_header(Map::RequestHeaders, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::encode;

    fn snapshot(headers: &[(&str, &str)]) -> Snapshot {
        let pairs: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        Snapshot {
            pairs: encode(&pairs),
            source_address: Some(b"10.0.0.9:1234".to_vec()),
        }
    }

    const REQUEST: &[(&str, &str)] = &[
        (":path", "/a?b"),
        ("cookie", "a=1"),
        ("X-User", "u1"),
        ("x-limpet-destination", "evil:1"),
        ("Cookie", "b=2"),
        ("x-user", "u2"),
        ("X-Limpet-Destination", "evil:2"),
        ("x-limpet-destination", "evil:3"),
    ];

    #[test]
    fn one_pass_captures_what_the_configuration_reads() {
        let reads = Reads::default()
            .path()
            .cookies()
            .source_address()
            .header("X-USER")
            .header("x-user");
        let snapshot = snapshot(REQUEST);
        let capture = snapshot.capture(&reads);
        assert_eq!(
            (capture.path, capture.source_address),
            (&b"/a?b"[..], &b"10.0.0.9:1234"[..])
        );
        assert_eq!(capture.cookies, [b"a=1", b"b=2"]);
        assert_eq!(capture.header("x-User").collect::<Vec<_>>(), [b"u1", b"u2"]);
        assert_eq!(capture.header("x-other").count(), 0);
    }

    #[test]
    fn what_is_not_read_is_empty_but_for_reserved_names() {
        let mut snapshot = snapshot(REQUEST);
        snapshot.source_address = None;
        assert_eq!(
            snapshot.capture(&Reads::default()),
            Capture {
                reserved: vec![b"X-Limpet-Destination", b"x-limpet-destination"],
                ..Capture::default()
            }
        );
    }

    #[test]
    fn a_proxy_without_headers_gives_no_snapshot() {
        assert!(Snapshot::take(&Reads::default()).is_none());
    }
}
