//! The `X-Forwarded-For` and `X-Forwarded-Proto` fields of a request on its way to a worker.
//!
//! The client's address is appended to the first; the second is set to the scheme of the client's connection where
//! nobody before this proxy set it. Whether a worker may trust what others wrote is left to filters.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The chain of addresses a request came through.
pub const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme the client used.
pub const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Adds the address of the client and the scheme of its connection to `headers`. Several lines of addresses become
/// one, so that the worker reads one list.
pub fn append(headers: &mut HeaderMap, client: &HeaderValue, scheme: HeaderValue) {
    let value = if headers.contains_key(FOR) {
        let mut list = Vec::new();
        for line in headers.get_all(FOR) {
            list.extend_from_slice(line.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(client.as_bytes());
        HeaderValue::from_bytes(&list).unwrap_or_else(|_| client.clone())
    } else {
        client.clone()
    };
    headers.insert(FOR, value);
    if !headers.contains_key(PROTO) {
        headers.insert(PROTO, scheme);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_list_of_all_lines() {
        let mut headers = HeaderMap::new();
        append(
            &mut headers,
            &HeaderValue::from_static("10.0.0.1"),
            HeaderValue::from_static("http"),
        );
        assert_eq!(headers[FOR], "10.0.0.1");
        assert_eq!(headers[PROTO], "http");
        headers.append(FOR, HeaderValue::from_static("10.0.0.2"));
        headers.insert(PROTO, HeaderValue::from_static("https"));
        append(
            &mut headers,
            &HeaderValue::from_static("10.0.0.3"),
            HeaderValue::from_static("http"),
        );
        assert_eq!(headers[FOR], "10.0.0.1, 10.0.0.2, 10.0.0.3");
        assert_eq!(headers.get_all(FOR).iter().count(), 1);
        assert_eq!(headers[PROTO], "https");
    }
}
