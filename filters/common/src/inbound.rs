//! A request's headers as the filters read them: one walk, everything either of them needs.

use limpet_wire::names;

use crate::hostcalls::{self, Map};
use crate::pairs::Pairs;

/// What of a request the filters read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path and query, as sent.
    pub path: &'a [u8],
    /// Every `Cookie` header.
    pub cookies: Vec<&'a [u8]>,
    /// The headers only Limpet may write, each name once.
    pub reserved: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads encoded header pairs.
    #[must_use]
    pub fn read(pairs: &'a [u8]) -> Self {
        let mut request = Self::default();
        for (name, value) in Pairs::new(pairs) {
            if name == b":path" {
                request.path = value;
            } else if name.eq_ignore_ascii_case(b"cookie") {
                request.cookies.push(value);
            } else if names::is_reserved(name) {
                request.reserved.push(name);
            }
        }
        request.reserved.sort_unstable();
        request.reserved.dedup();
        request
    }

    /// Removes what the client had no business to send.
    pub fn strip(&self) {
        for name in &self.reserved {
            hostcalls::remove_header(Map::RequestHeaders, name);
        }
    }
}
