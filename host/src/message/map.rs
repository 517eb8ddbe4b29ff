//! A view of every header map that a filter may name: request and response heads with their pseudo-fields, trailers and
//! the headers of call-outs without.
//!
//! Names are lower case for readers. A repeated field is several pairs; `get` returns the first and `replace` leaves
//! exactly one, as in Envoy.

use http::header::HeaderMap;

use super::head::{BadField, RequestHead, ResponseHead, Value, field, first};

/// The most fields a head may grow to through filters; past it an addition is refused.
pub const FIELDS_MAX: usize = 1024;

/// A borrowed map.
#[derive(Debug)]
pub enum Map<'head> {
    /// A request head.
    Request(&'head mut RequestHead),
    /// A response head.
    Response(&'head mut ResponseHead),
    /// Fields only.
    Fields(&'head mut HeaderMap),
}

impl Map<'_> {
    /// How many pairs [`Map::each`] visits.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut count = 0;
        self.each(|_, _| count += 1);
        count
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `f` with each pair.
    pub fn each(&self, mut f: impl FnMut(&[u8], &[u8])) {
        match self {
            Self::Request(head) => head.each(f),
            Self::Response(head) => head.each(f),
            Self::Fields(fields) => fields
                .iter()
                .for_each(|(n, v)| f(n.as_str().as_bytes(), v.as_bytes())),
        }
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Value> {
        match self {
            Self::Request(head) => head.get(name),
            Self::Response(head) => head.get(name),
            Self::Fields(fields) => first(fields, name).cloned().map(Value::Field),
        }
    }

    /// Adds a pair; a pseudo-field is replaced, for there is only one of each.
    ///
    /// # Errors
    /// When it is not a possible field, or there are [`FIELDS_MAX`].
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadField> {
        if let Some(done) = self.set_pseudo(name, value) {
            return done;
        }
        let (name, value) = field(name, value)?;
        let fields = self.fields();
        if fields.len() >= FIELDS_MAX {
            return Err(BadField);
        }
        fields.append(name, value);
        Ok(())
    }

    /// Leaves `value` as the only one of `name`.
    ///
    /// # Errors
    /// As [`Map::add`].
    pub fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadField> {
        if let Some(done) = self.set_pseudo(name, value) {
            return done;
        }
        let (name, value) = field(name, value)?;
        let fields = self.fields();
        if fields.len() >= FIELDS_MAX {
            return Err(BadField);
        }
        fields.insert(name, value);
        Ok(())
    }

    /// Removes every value of `name`. A pseudo-field stays: a message cannot be without.
    pub fn remove(&mut self, name: &[u8]) {
        if let Ok(name) = std::str::from_utf8(name) {
            self.fields().remove(name);
        }
    }

    /// Replaces everything by `pairs`; pseudo-fields that `pairs` does not name stay.
    ///
    /// # Errors
    /// On the first impossible pair; those before it are set.
    pub fn set_all<'p>(&mut self, pairs: impl Iterator<Item = (&'p [u8], &'p [u8])>) -> Result<(), BadField> {
        let host = match self {
            Self::Request(head) => head.headers.remove(http::header::HOST),
            _ => None,
        };
        self.fields().clear();
        if let Some(host) = host {
            self.fields().insert(http::header::HOST, host);
        }
        for (name, value) in pairs {
            self.add(name, value)?;
        }
        Ok(())
    }

    fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<Result<(), BadField>> {
        match self {
            Self::Request(head) => head.set_pseudo(name, value),
            Self::Response(head) => head.set_pseudo(name, value),
            Self::Fields(_) => None,
        }
    }

    fn fields(&mut self) -> &mut HeaderMap {
        match self {
            Self::Request(head) => &mut head.headers,
            Self::Response(head) => &mut head.headers,
            Self::Fields(fields) => fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request() -> RequestHead {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("shop"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_bytes(b"b=\xff").unwrap());
        RequestHead {
            method: http::Method::GET,
            path: "/a?b".parse().unwrap(),
            scheme: HeaderValue::from_static("http"),
            headers,
        }
    }

    #[test]
    fn pseudo_fields_come_first_and_repeated_ones_are_pairs() {
        let mut head = request();
        let map = Map::Request(&mut head);
        let mut seen = Vec::new();
        map.each(|name, value| seen.push((name.to_vec(), value.to_vec())));
        let names: Vec<_> = seen
            .iter()
            .map(|(n, _)| std::str::from_utf8(n).unwrap())
            .collect();
        assert_eq!(
            names,
            [":authority", ":path", ":method", ":scheme", "cookie", "cookie"]
        );
        assert_eq!(map.len(), 6);
        assert_eq!(map.get(b"Cookie").unwrap().as_bytes(), b"a=1");
        assert_eq!(map.get(b"host").unwrap().as_bytes(), b"shop");
    }

    #[test]
    fn replace_leaves_one_and_remove_none() {
        let mut head = request();
        let mut map = Map::Request(&mut head);
        map.replace(b"COOKIE", b"c=3").unwrap();
        assert_eq!(map.len(), 5);
        map.remove(b"Cookie");
        assert!(map.get(b"cookie").is_none());
        map.remove(b"\xff");
        assert_eq!(map.replace(b"bad name", b""), Err(BadField));
        assert_eq!(map.add(b"x", b"a\nb"), Err(BadField));
    }

    #[test]
    fn a_path_is_a_path() {
        let mut head = request();
        let mut map = Map::Request(&mut head);
        map.replace(b":path", b"/new?x=1").unwrap();
        assert_eq!(map.get(b":path").unwrap().as_bytes(), b"/new?x=1");
        for bad in [&b"http://other/"[..], b"", b"/\x00", b"/a b"] {
            assert_eq!(map.replace(b":path", bad), Err(BadField), "{bad:?}");
        }
    }
}
