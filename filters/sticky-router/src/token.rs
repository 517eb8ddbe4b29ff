//! The token cookie of a request, validated: opened, of this app, and not too old.
//!
//! Pure, from the token's stamps and the time handed in. Stamps are of the proxies' wall clocks, which may differ by
//! [`SKEW_SECS`]. Opening a token is `limpet-wire`'s part (through [`crate::token_cache`]); which worker it leads to is
//! decided in [`crate::levels::token`], when a response replaces it in [`crate::renewal`].

use std::rc::Rc;

use limpet_filters_common::cookies;
use limpet_wire::token::Claims;

use crate::config::{Config, TokenConfig};

/// The most cookies of the token's name that are opened; each costs a decryption.
pub const TRIES_MAX: usize = 4;
/// How far the clocks of two proxies may differ, in seconds.
pub const SKEW_SECS: u64 = 60;

/// The token cookie of a request, validated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Token {
    /// The request has none, or no worker table with a key to open it has arrived.
    #[default]
    Absent,
    /// It opens, is of this app, and is not too old.
    Valid(Rc<Claims>),
    /// It opens, and is too old or from the future.
    Expired,
    /// It opens, and was made for another app.
    OtherApp,
    /// It does not open.
    Refused,
}

/// Reads the token cookies of `headers` at `now` (seconds since 1970); the first valid one counts. `open` opens
/// one token's text.
pub fn read(
    headers: &[&[u8]],
    config: &Config,
    now: u64,
    mut open: impl FnMut(&[u8]) -> Option<Rc<Claims>>,
) -> Token {
    let mut token = Token::Absent;
    if !config.token.enabled {
        return token;
    }
    for text in cookies::values(headers, &config.token.cookie).take(TRIES_MAX) {
        token = match open(text) {
            None => Token::Refused,
            Some(claims) if claims.app != config.app => Token::OtherApp,
            Some(claims) if too_old(&claims, &config.token, now) => Token::Expired,
            Some(claims) => return Token::Valid(claims),
        };
    }
    token
}

fn too_old(claims: &Claims, config: &TokenConfig, now: u64) -> bool {
    let past = |since: u64, limit: u64| limit > 0 && now > since.saturating_add(limit / 1_000 + SKEW_SECS);
    claims.last_seen > now.saturating_add(SKEW_SECS)
        || past(claims.last_seen, config.idle.0)
        || past(claims.first_seen, config.lifetime.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::claims;
    use limpet_filters_common::config::Millis;

    const NOW: u64 = 1_700_000_000;

    fn validated(config: &Config, first_seen: u64, last_seen: u64) -> Token {
        read(&[b"LIMPET=t"], config, NOW, |_| {
            Some(claims("n1", &[], first_seen, last_seen))
        })
    }

    #[test]
    fn limits_have_a_minute_of_allowance() {
        let mut config = Config::default();
        assert!(
            matches!(validated(&config, 0, 0), Token::Valid(_)),
            "no limits by default"
        );
        config.token.idle = Millis(600_000);
        config.token.lifetime = Millis(3_600_000);
        for (first_seen, last_seen, valid) in [
            (NOW, NOW, true),
            (NOW, NOW - 660, true),
            (NOW, NOW - 661, false),
            (NOW - 3_660, NOW, true),
            (NOW - 3_661, NOW, false),
            (NOW, NOW + 60, true),
            (NOW, NOW + 61, false),
        ] {
            let token = validated(&config, first_seen, last_seen);
            assert_eq!(
                matches!(token, Token::Valid(_)),
                valid,
                "{first_seen} {last_seen}"
            );
            assert_eq!(token == Token::Expired, !valid);
        }
    }

    #[test]
    fn the_first_valid_one_counts_and_only_some_are_tried() {
        let config = Config::default();
        let open = |text: &[u8]| (text == b"good").then(|| claims("n1", &[], NOW, NOW));
        assert!(matches!(
            read(&[b"LIMPET=bad; LIMPET=good"], &config, NOW, open),
            Token::Valid(_)
        ));
        assert_eq!(read(&[b"LIMPET=bad"], &config, NOW, open), Token::Refused);
        assert_eq!(read(&[b"a=b"], &config, NOW, open), Token::Absent);
        let mut tries = 0;
        let many = "LIMPET=bad; ".repeat(100);
        read(&[many.as_bytes()], &config, NOW, |_| {
            tries += 1;
            None
        });
        assert_eq!(tries, TRIES_MAX);
    }

    #[test]
    fn another_app_and_a_router_without_tokens() {
        let mut config = Config {
            app: "other".into(),
            ..Config::default()
        };
        assert_eq!(validated(&config, NOW, NOW), Token::OtherApp);
        config.token.enabled = false;
        assert_eq!(validated(&config, NOW, NOW), Token::Absent);
    }
}
