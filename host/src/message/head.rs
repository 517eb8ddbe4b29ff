//! Request and response heads as filters see them: fields in a map, and in front of them the pseudo-fields `:method`,
//! `:path`, `:scheme`, `:authority` and `:status`.
//!
//! `:authority` and `host` are the same value, kept as the `Host` field. Bodies are left to `client` and `upstream`.

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

/// A request head.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:path`, query included.
    pub path: PathAndQuery,
    /// `:scheme`: that of the client's connection, unless a filter changed it.
    pub scheme: HeaderValue,
    /// Every other field, `Host` included.
    pub headers: HeaderMap,
}

/// A response head.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// `:status`.
    pub status: StatusCode,
    /// Every other field.
    pub headers: HeaderMap,
}

/// One value of a head, shared and not copied.
#[derive(Debug, Clone)]
pub enum Value {
    /// An ordinary field.
    Field(HeaderValue),
    /// `:method`.
    Method(Method),
    /// `:path`.
    Path(PathAndQuery),
    /// `:status`.
    Status(StatusCode),
}

impl Value {
    /// The bytes of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Field(value) => value.as_bytes(),
            Self::Method(method) => method.as_str().as_bytes(),
            Self::Path(path) => path.as_str().as_bytes(),
            Self::Status(status) => status.as_str().as_bytes(),
        }
    }
}

/// A name or value that cannot be part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid field name or value")]
pub struct BadField;

impl RequestHead {
    /// The first value of `name`, in any case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Value> {
        match name {
            b":method" => Some(Value::Method(self.method.clone())),
            b":path" => Some(Value::Path(self.path.clone())),
            b":scheme" => Some(Value::Field(self.scheme.clone())),
            b":authority" => self.headers.get(HOST).cloned().map(Value::Field),
            _ => first(&self.headers, name).cloned().map(Value::Field),
        }
    }

    /// Sets a pseudo-field. `None` when `name` is not one of this head.
    ///
    /// # Errors
    /// When the value is not possible there; the head is unchanged.
    pub fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<Result<(), BadField>> {
        Some(match name {
            b":method" => Method::from_bytes(value)
                .map(|method| self.method = method)
                .map_err(|_| BadField),
            b":path" => path(value).map(|path| self.path = path),
            b":scheme" => HeaderValue::from_bytes(value)
                .map(|v| self.scheme = v)
                .map_err(|_| BadField),
            b":authority" | b"host" | b"Host" => HeaderValue::from_bytes(value)
                .map(|value| {
                    self.headers.insert(HOST, value);
                })
                .map_err(|_| BadField),
            _ => return None,
        })
    }

    /// Calls `f` with each name and value: pseudo-fields first, `Host` only as `:authority`.
    pub fn each(&self, mut f: impl FnMut(&[u8], &[u8])) {
        if let Some(host) = self.headers.get(HOST) {
            f(b":authority", host.as_bytes());
        }
        f(b":path", self.path.as_str().as_bytes());
        f(b":method", self.method.as_str().as_bytes());
        f(b":scheme", self.scheme.as_bytes());
        for (name, value) in &self.headers {
            if name != HOST {
                f(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
}

impl ResponseHead {
    /// The first value of `name`, in any case.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Value> {
        match name {
            b":status" => Some(Value::Status(self.status)),
            _ => first(&self.headers, name).cloned().map(Value::Field),
        }
    }

    /// Sets `:status`. `None` when `name` is another one.
    ///
    /// # Errors
    /// When the value is no status; the head is unchanged.
    pub fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<Result<(), BadField>> {
        (name == b":status").then(|| {
            StatusCode::from_bytes(value)
                .map(|status| self.status = status)
                .map_err(|_| BadField)
        })
    }

    /// Calls `f` with each name and value, `:status` first.
    pub fn each(&self, mut f: impl FnMut(&[u8], &[u8])) {
        f(b":status", self.status.as_str().as_bytes());
        for (name, value) in &self.headers {
            f(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// The first value of `name`, which need not be a possible name.
pub(crate) fn first<'map>(headers: &'map HeaderMap, name: &[u8]) -> Option<&'map HeaderValue> {
    headers.get(std::str::from_utf8(name).ok()?)
}

/// `name` and `value` as a field.
pub(crate) fn field(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), BadField> {
    let name = HeaderName::from_bytes(name).map_err(|_| BadField)?;
    let value = HeaderValue::from_bytes(value).map_err(|_| BadField)?;
    Ok((name, value))
}

/// A request target is a path or `*`; anything else would be read as another host's.
fn path(value: &[u8]) -> Result<PathAndQuery, BadField> {
    if !(value.starts_with(b"/") || value == b"*") {
        return Err(BadField);
    }
    PathAndQuery::try_from(value).map_err(|_| BadField)
}
