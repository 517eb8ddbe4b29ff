//! What handlers read from a request: its path's segments, its query, its body. Every reader says in the error which
//! part is wrong and what is expected.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;

use super::error::ApiError;
use crate::base::id::SessionKey;
use crate::base::limits::API_BODY_MAX;
use crate::service::{Ack, CallerError, Level, Service};

/// The text of one segment of the path.
pub(super) fn segment(text: &str) -> Result<String, ApiError> {
    decode(text).ok_or_else(|| ApiError::Bad("the path is not valid percent-encoded text".into()))
}

/// The session that two segments of the path name.
pub(super) fn key(app: &str, id: &str) -> Result<SessionKey, ApiError> {
    let key = SessionKey::parse(&segment(app)?, &segment(id)?);
    key.map_err(|error| ApiError::Refused(CallerError::from(error).into()))
}

/// Percent-decoding, RFC 3986 section 2.1. `None` for a broken escape or bytes that are no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits)
                .ok()
                .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The value of `name` in the query; the first if there are several.
pub(super) fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    let pairs = request
        .uri()
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .next()
        .and_then(decode)
}

/// The value of `name` as `read` reads it; `expected` ends the sentence about one that it cannot read.
pub(super) fn query_as<B, T>(
    request: &Request<B>,
    name: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = query(request, name) else {
        return Ok(None);
    };
    let value = read(&text).ok_or_else(|| ApiError::Bad(format!("{name}: {expected} is expected")))?;
    Ok(Some(value))
}

/// The words of `name`, which stand between commas.
pub(super) fn query_list<B>(request: &Request<B>, name: &str) -> Vec<String> {
    let text = query(request, name).unwrap_or_default();
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(ToOwned::to_owned).collect()
}

/// Refuses query parameters nobody reads: a misspelt `ack` must not silently mean `none`.
pub(super) fn only<B>(request: &Request<B>, known: &[&str]) -> Result<(), ApiError> {
    let query = request.uri().query().unwrap_or_default();
    let names = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split('=').next().unwrap_or(pair));
    match names.into_iter().find(|name| !known.contains(name)) {
        Some(name) => Err(ApiError::Bad(format!(
            "unknown query parameter {name}; known: {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

/// How many copies the caller wants and how long it waits, for a call that takes no other parameter but `others`.
pub(super) fn ack<B>(service: &Service, request: &Request<B>, others: &[&str]) -> Result<Ack, ApiError> {
    only(request, &[&["ack", "timeout_ms"], others].concat())?;
    let level = query_as(request, "ack", "none, one, quorum or all", Level::parse)?;
    let timeout = query_as(request, "timeout_ms", "a number of milliseconds", |text| {
        text.parse().ok().map(Duration::from_millis)
    })?;
    Ok(service.ack(level, timeout))
}

/// The whole body, if it is not larger than `max`.
pub(super) async fn body_bytes(request: Request<Incoming>, max: usize) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(max)),
        Err(error) => Err(ApiError::Bad(format!("the body cannot be read: {error}"))),
    }
}

/// The body as JSON of a known shape.
pub(super) async fn body_json<T: for<'a> Deserialize<'a>>(request: Request<Incoming>) -> Result<T, ApiError> {
    let bytes = body_bytes(request, API_BODY_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Bad(format!("the body is not what is expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3986_2_1_percent_decoding() {
        assert_eq!(decode("a%20b%2Fc").as_deref(), Some("a b/c"));
        for broken in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn parameters_are_read_by_name_and_others_are_refused() {
        let request = Request::get("/v1/events?app=a,,b&limit=7").body(()).unwrap();
        assert_eq!(query_list(&request, "app"), ["a", "b"]);
        let number = |name| query_as(&request, name, "a number", |text| text.parse::<u8>().ok());
        assert_eq!(number("limit").unwrap(), Some(7));
        assert_eq!(number("after").unwrap(), None);
        assert_eq!(
            number("app").unwrap_err().to_string(),
            "app: a number is expected"
        );
        assert!(only(&request, &["app", "limit"]).is_ok());
        assert!(
            only(&request, &["app"])
                .unwrap_err()
                .to_string()
                .contains("limit")
        );
    }
}
