//! The configuration of the binder. `{}` is valid; unknown keys are refused; durations are strings.
//!
//! Keys of both filters are in `limpet_filters_common::config`; both filters together, in [`crate::combined`].

use limpet_filters_common::config::{ConfigError, DEFAULT_APP, Millis, SessionConfig, check_app, read};
use serde::Deserialize;

/// The longest `ack_timeout`, in milliseconds: no response is paused for longer than five minutes.
pub const ACK_TIMEOUT_MAX_MS: u64 = 300_000;

/// The binder's keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The app whose sessions the requests carry.
    pub app: String,
    /// Where a request carries its session id; must be the same as the router's.
    pub session: SessionConfig,
    /// How many copies a delta must have before the client gets the response.
    pub ack: Ack,
    /// The longest a response waits for that.
    pub ack_timeout: Millis,
    /// The shortest time between two reported touches of one session.
    pub touch_interval: Millis,
}

/// The acknowledgement a response with a delta waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// None; it does not wait.
    None,
    /// One node besides the core that took the report.
    One,
    /// A majority of the nodes.
    Quorum,
    /// Every node that should hold a copy.
    All,
}

impl Ack {
    /// The value of `ack` in a report's query.
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

    /// Refuses values that cannot work.
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
    fn a_value_that_cannot_work_is_refused_by_its_key() {
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
