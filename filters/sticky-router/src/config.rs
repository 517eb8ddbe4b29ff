//! The configuration of the router. `{}` is valid; unknown keys are refused; durations are strings.
//!
//! What it makes necessary to read of a request is in [`crate::levels::reads`]. Keys of both filters are in
//! `limpet_filters_common::config`.

use limpet_filters_common::config::{
    ConfigError, DEFAULT_APP, Millis, SessionConfig, check_app, check_token, read,
};
use serde::Deserialize;

/// The router's keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The app whose sessions the requests carry.
    pub app: String,
    /// Where a request carries its session id.
    pub session: SessionConfig,
    /// The token cookie.
    pub token: TokenConfig,
    /// Whether a request whose bound worker takes no requests is answered 503 instead of going to another worker.
    pub strict: bool,
}

/// The token cookie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Whether the router makes and reads one.
    pub enabled: bool,
    /// Its name; case counts.
    pub cookie: String,
    /// The idle timeout of a token; `"0s"`: none.
    pub idle: Millis,
    /// The absolute timeout of a token; `"0s"`: none.
    pub lifetime: Millis,
    /// Whether the cookie has the attribute `Secure`.
    pub secure: bool,
    /// Its attribute `SameSite`.
    pub same_site: SameSite,
}

/// Whether a browser sends the token with requests from other sites (RFC 6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When the user follows a link.
    Lax,
    /// Always; browsers then require `Secure`.
    None,
}

impl SameSite {
    /// The attribute's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app: DEFAULT_APP.into(),
            session: SessionConfig::default(),
            token: TokenConfig::default(),
            strict: false,
        }
    }
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            cookie: "LIMPET".into(),
            idle: Millis(0),
            lifetime: Millis(0),
            secure: false,
            same_site: SameSite::Lax,
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ConfigError> {
        let config: Self = read(bytes)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// See [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        check_app(&self.app)?;
        self.session.check()?;
        check_token("token.cookie", &self.token.cookie)?;
        if self.token.cookie == self.session.cookie {
            return Err(ConfigError::Value {
                key: "token.cookie",
                problem: "is the session cookie's name",
            });
        }
        if self.token.same_site == SameSite::None && !self.token.secure {
            return Err(ConfigError::Value {
                key: "token.same_site",
                problem: "None needs token.secure, or browsers drop the cookie",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_works() {
        assert_eq!(Config::read(b"{}").unwrap(), Config::default());
    }

    #[test]
    fn every_key_can_be_written() {
        let config = Config::read(
            br#"{"app":"shop","session":{"cookie":"SID","path":"sid","prefer":"path","route":false,
                "cookie_path":"/shop","secure":true},"token":{"enabled":false,"cookie":"T","idle":"30m",
                "lifetime":"12h","secure":true,"same_site":"None"},"strict":true}"#,
        )
        .unwrap();
        assert_eq!(
            (config.token.idle, config.token.lifetime),
            (Millis(1_800_000), Millis(43_200_000))
        );
        assert!(config.strict && config.session.secure);
    }

    #[test]
    fn a_value_that_cannot_work_is_refused_by_its_key() {
        for (text, key) in [
            (r#"{"sesion":{}}"#, "sesion"),
            (r#"{"app":""}"#, "app"),
            (r#"{"token":{"cookie":"a b"}}"#, "token.cookie"),
            (r#"{"token":{"cookie":"JSESSIONID"}}"#, "token.cookie"),
            (r#"{"token":{"idle":30}}"#, "30"),
            (r#"{"token":{"idle":"30"}}"#, "\"30\""),
            (r#"{"token":{"same_site":"None"}}"#, "token.same_site"),
            ("[]", "object"),
        ] {
            let error = Config::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
