//! The configuration keys that both filters have, and the reader of any filter's configuration.
//!
//! A configuration is a JSON object; unknown keys are refused; no bytes and `{}` both mean the defaults; durations are
//! strings such as `"500ms"`, `"60s"`, `"30m"`, `"12h"`, `"7d"`. Keys of one filter only are in that filter's `config`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

/// The app a session belongs to where none is named.
pub const DEFAULT_APP: &str = "default";

/// Why a configuration is refused; the plugin does not start, and the operator corrects it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, an unknown key, or a value of the wrong type.
    #[error("the filter's configuration cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A value that cannot work.
    #[error("{key}: {problem}")]
    Value {
        /// The path of the key.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No plugin of that name in this module.
    #[error("root_id {0:?} names no plugin of this module")]
    Root(String),
}

/// Reads a configuration; no bytes mean `{}`.
///
/// # Errors
/// See [`ConfigError::Syntax`].
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ConfigError> {
    let bytes = bytes.trim_ascii();
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    // serde would read an array as the values of the keys in their order.
    if !bytes.starts_with(b"{") {
        return Err(ConfigError::Value {
            key: "configuration",
            problem: "must be a JSON object",
        });
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Where a request carries its session id, and how the session cookie is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// The session cookie's name; case counts.
    pub cookie: String,
    /// The path parameter's name; empty where ids are not read from paths.
    pub path: String,
    /// Which one counts when a request carries both.
    pub prefer: Prefer,
    /// Whether the text behind an id's first dot is a route. Off for apps whose ids contain dots, such as signed
    /// ones.
    pub route: bool,
    /// The `Path` of a session cookie the binder writes after a takeover: the one the app uses.
    pub cookie_path: String,
    /// Whether such a cookie is `Secure`.
    pub secure: bool,
}

/// Which session id counts when cookie and path carry one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The cookie's, as in Tomcat.
    Cookie,
    /// The path's, as in httpd.
    Path,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            cookie: "JSESSIONID".into(),
            path: "jsessionid".into(),
            prefer: Prefer::Cookie,
            route: true,
            cookie_path: "/".into(),
            secure: false,
        }
    }
}

impl SessionConfig {
    /// Refuses names that no cookie, path parameter or `Path` attribute may have.
    ///
    /// # Errors
    /// See [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        check_token("session.cookie", &self.cookie)?;
        if !self.path.is_empty() {
            check_token("session.path", &self.path)?;
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b';';
        if !self.cookie_path.starts_with('/') || !self.cookie_path.bytes().all(plain) {
            return Err(ConfigError::Value {
                key: "session.cookie_path",
                problem: "must be a path that starts with / and has neither ; nor spaces",
            });
        }
        Ok(())
    }
}

/// Refuses what is not a token (RFC 9110 section 5.6.2), which a cookie's name must be.
///
/// # Errors
/// See [`ConfigError::Value`].
pub fn check_token(key: &'static str, name: &str) -> Result<(), ConfigError> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > limpet_wire::report::NAME_MAX || !name.bytes().all(token) {
        return Err(ConfigError::Value {
            key,
            problem: "must be a name of letters, digits, - and _",
        });
    }
    Ok(())
}

/// Refuses an app name that a core would refuse.
///
/// # Errors
/// See [`ConfigError::Value`].
pub fn check_app(app: &str) -> Result<(), ConfigError> {
    if app.is_empty() || app.len() > limpet_wire::report::NAME_MAX {
        return Err(ConfigError::Value {
            key: "app",
            problem: "must have 1 to 128 bytes",
        });
    }
    Ok(())
}

/// A duration in milliseconds, read from a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// Reads `"<digits><unit>"`, unit one of ms, s, m, h, d.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(scale).map(Self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no duration such as \"500ms\", \"60s\" or \"30m\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_an_empty_object_are_the_defaults() {
        for bytes in [&b""[..], b" \n", b"{}"] {
            assert_eq!(read::<SessionConfig>(bytes).unwrap(), SessionConfig::default());
        }
        SessionConfig::default().check().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = read::<SessionConfig>(br#"{"cooky":"X"}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cooky"), "{error}");
    }

    #[test]
    fn names_that_would_break_a_header_are_refused() {
        for bad in ["", "a b", "a;b", "a=b", "\u{e4}"] {
            let config = SessionConfig {
                cookie: bad.into(),
                ..SessionConfig::default()
            };
            assert!(config.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("60s", 60_000),
            ("30m", 1_800_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(Millis::parse(text), Some(Millis(millis)), "{text}");
        }
        for bad in [
            "",
            "60",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(Millis::parse(bad), None, "{bad:?}");
        }
    }
}
