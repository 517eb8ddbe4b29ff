//! The rules a request head must obey before any other code reads it (RFC 9112, sections 3.2 and 6.1).
//!
//! hyper has parsed the head by then; these are the rules it leaves to its user. Where a request has both a length and
//! a transfer coding, hyper keeps the coding only, so a worker never sees two lengths. If such a request gets here all
//! the same, it is refused.

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Uri, Version};

/// The largest request head, in bytes, names and values of all fields together; past it the answer is 431.
pub const HEAD_MAX: usize = 60 << 10;

/// Why a request is refused unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Two lengths, or a length and a transfer coding: two readers would see two messages.
    #[error("the request says its length in two ways")]
    Length,
    /// HTTP/1.1 without exactly one `Host`.
    #[error("the request needs exactly one Host field")]
    Host,
    /// `CONNECT` asks for a tunnel to anywhere.
    #[error("CONNECT is not served here")]
    Connect,
    /// More than [`HEAD_MAX`] bytes.
    #[error("the request head is larger than 60 KiB")]
    TooLarge,
}

/// Checks a request head, and lets an absolute-form target name the host (RFC 9112, section 3.2.2).
///
/// # Errors
/// See [`FramingError`].
pub fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &mut HeaderMap,
) -> Result<(), FramingError> {
    if *method == Method::CONNECT {
        return Err(FramingError::Connect);
    }
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size + uri.path_and_query().map_or(0, |path| path.as_str().len()) > HEAD_MAX {
        return Err(FramingError::TooLarge);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) || version < Version::HTTP_11 {
            return Err(FramingError::Length);
        }
    } else if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(FramingError::Length);
    }
    if let Some(authority) = uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| FramingError::Host)?;
        headers.insert(HOST, host);
        return Ok(());
    }
    match (headers.get_all(HOST).iter().count(), version) {
        (1, _) | (0, Version::HTTP_10) => Ok(()),
        _ => Err(FramingError::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_head(
        version: Version,
        target: &str,
        lines: &[(&'static str, &str)],
    ) -> Result<HeaderMap, FramingError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        check(&Method::GET, &target.parse().unwrap(), version, &mut headers).map(|()| headers)
    }

    #[test]
    fn rfc9112_6_1_te_and_cl_conflict() {
        let lines = [
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
        ];
        assert_eq!(
            check_head(Version::HTTP_11, "/", &lines).unwrap_err(),
            FramingError::Length
        );
        let lines = [("host", "a"), ("content-length", "3"), ("content-length", "4")];
        assert_eq!(
            check_head(Version::HTTP_11, "/", &lines).unwrap_err(),
            FramingError::Length
        );
    }

    #[test]
    fn rfc9112_3_2_exactly_one_host() {
        assert_eq!(
            check_head(Version::HTTP_11, "/", &[]).unwrap_err(),
            FramingError::Host
        );
        let twice = [("host", "a"), ("host", "b")];
        assert_eq!(
            check_head(Version::HTTP_11, "/", &twice).unwrap_err(),
            FramingError::Host
        );
        assert!(check_head(Version::HTTP_10, "/", &[]).is_ok());
        let headers = check_head(Version::HTTP_11, "http://b:81/x", &[("host", "a")]).unwrap();
        assert_eq!(headers[HOST], "b:81");
    }

    #[test]
    fn a_head_past_the_limit_is_refused() {
        let long = "a".repeat(HEAD_MAX);
        let lines = [("host", "a"), ("cookie", long.as_str())];
        assert_eq!(
            check_head(Version::HTTP_11, "/", &lines).unwrap_err(),
            FramingError::TooLarge
        );
    }
}
