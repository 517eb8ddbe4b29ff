//! The binder's configuration. `{}` works; unknown keys are refused; every duration is a text.

use limpet_filters_common::config::{ConfigError, DEFAULT_APP, Millis, SessionConfig, check_app, read};
use serde::Deserialize;

/// The longest a response may be held for an acknowledgement, in milliseconds.
pub const ACK_TIMEOUT_MAX_MS: u64 = 300_000;

/// What the binder needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The app whose sessions pass here.
    pub app: String,
    /// Where a request carries its session id; the same as the router's.
    pub session: SessionConfig,
    /// How many copies a delta must have before the client gets the response.
    pub ack: Ack,
    /// The longest a response is held for that.
    pub ack_timeout: Millis,
    /// A session in use is reported as used once in this time.
    pub touch_interval: Millis,
}

/// How many copies of a delta a response waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// It does not wait.
    None,
    /// One other node's.
    One,
    /// Those of a majority.
    Quorum,
    /// All that there should be.
    All,
}

impl Ack {
    /// The name the core knows it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "one",
            Self::Quorum => "quorum",
            Self::All => "all",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app: DEFAULT_APP.into(),
            session: SessionConfig::default(),
            ack: Ack::None,
            ack_timeout: Millis(15_000),
            touch_interval: Millis(60_000),
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

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// See [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        check_app(&self.app)?;
        self.session.check()?;
        if !(1..=ACK_TIMEOUT_MAX_MS).contains(&self.ack_timeout.0) {
            return Err(ConfigError::Value {
                key: "ack_timeout",
                problem: "must be between \"1ms\" and \"5m\"",
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
            br#"{"app":"shop","session":{"cookie":"SID"},"ack":"quorum","ack_timeout":"2s","touch_interval":"0s"}"#,
        )
        .unwrap();
        assert_eq!((config.ack, config.ack_timeout), (Ack::Quorum, Millis(2_000)));
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        for (text, key) in [
            (r#"{"token":{}}"#, "token"),
            (r#"{"ack":"two"}"#, "two"),
            (r#"{"ack_timeout":"0s"}"#, "ack_timeout"),
            (r#"{"ack_timeout":"1h"}"#, "ack_timeout"),
            (r#"{"touch_interval":60}"#, "60"),
        ] {
            let error = Config::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
