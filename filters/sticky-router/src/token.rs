//! The token cookie: what the one of a request is worth, and when a response replaces it.
//!
//! Opening and sealing are `limpet-wire`'s; how long a token counts is decided here, from its stamps and the time
//! handed in. Stamps are of the proxies' wall clocks, which may differ by [`SKEW_SECS`].

use std::rc::Rc;

use limpet_filters_common::cookies;
use limpet_wire::table::WorkerTable;
use limpet_wire::token::{Claims, FALLBACKS_MAX};

use crate::config::{Config, TokenConfig};
use crate::destinations::fallbacks;

/// The most cookies of the token's name that are tried; each costs a decryption.
pub const TRIES_MAX: usize = 4;
/// How far the clocks of two proxies may differ, in seconds.
pub const SKEW_SECS: u64 = 60;
/// The age at which a token gets a new last-seen stamp, in seconds; sooner where the idle limit is short.
pub const REFRESH_SECS: u64 = 60;

/// What a request's token cookie was worth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Token {
    /// The request has none, or no table says how to open it.
    #[default]
    Absent,
    /// Opened, of this app, and not too old.
    Valid(Rc<Claims>),
    /// Opened and too old, or from the future.
    Expired,
    /// Opened and made for another app.
    OtherApp,
    /// Does not open.
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
    let mut worth = Token::Absent;
    if !config.token.enabled {
        return worth;
    }
    for text in cookies::values(headers, &config.token.cookie).take(TRIES_MAX) {
        worth = match open(text) {
            None => Token::Refused,
            Some(claims) if claims.app != config.app => Token::OtherApp,
            Some(claims) if too_old(&claims, &config.token, now) => Token::Expired,
            Some(claims) => return Token::Valid(claims),
        };
    }
    worth
}

fn too_old(claims: &Claims, config: &TokenConfig, now: u64) -> bool {
    let past = |since: u64, limit: u64| limit > 0 && now > since.saturating_add(limit / 1_000 + SKEW_SECS);
    claims.last_seen > now.saturating_add(SKEW_SECS)
        || past(claims.last_seen, config.idle.0)
        || past(claims.first_seen, config.lifetime.0)
}

/// Whether a client whose valid token was `old` and whom the worker `served` answered needs another token.
#[must_use]
pub fn is_due(old: Option<&Claims>, served: &str, config: &TokenConfig, now: u64) -> bool {
    let refresh = match config.idle.0 / 2_000 {
        0 => REFRESH_SECS,
        half => half.min(REFRESH_SECS),
    };
    old.is_none_or(|old| old.route != served || now >= old.last_seen.saturating_add(refresh))
}

/// What the new token says. `id` is what the session's copies are placed by.
#[must_use]
pub fn renew(
    old: Option<&Claims>,
    served: &str,
    id: &str,
    table: &WorkerTable,
    config: &Config,
    now: u64,
) -> Claims {
    Claims {
        app: config.app.clone(),
        route: served.to_owned(),
        fallbacks: fallbacks(table, &config.app, id, served, FALLBACKS_MAX),
        first_seen: old
            .filter(|old| old.route == served)
            .map_or(now, |old| old.first_seen),
        last_seen: now,
    }
}

/// The `Set-Cookie` header that hands a token out.
#[must_use]
pub fn set_cookie(text: &str, config: &TokenConfig) -> String {
    let secure = if config.secure { "; Secure" } else { "" };
    format!(
        "{}={text}; Path=/; HttpOnly; SameSite={}{secure}",
        config.cookie,
        config.same_site.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SameSite;
    use crate::fixture::table;
    use limpet_filters_common::config::Millis;
    use limpet_wire::table::WorkerStatus::Up;

    const NOW: u64 = 1_700_000_000;

    fn claims(route: &str, first_seen: u64, last_seen: u64) -> Rc<Claims> {
        Rc::new(Claims {
            app: "default".into(),
            route: route.into(),
            fallbacks: Vec::new(),
            first_seen,
            last_seen,
        })
    }

    fn worth(config: &Config, first_seen: u64, last_seen: u64) -> Token {
        read(&[b"LIMPET=t"], config, NOW, |_| {
            Some(claims("n1", first_seen, last_seen))
        })
    }

    #[test]
    fn limits_have_a_minute_of_allowance() {
        let mut config = Config::default();
        assert!(
            matches!(worth(&config, 0, 0), Token::Valid(_)),
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
            let token = worth(&config, first_seen, last_seen);
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
        let open = |text: &[u8]| (text == b"good").then(|| claims("n1", NOW, NOW));
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
        assert_eq!(worth(&config, NOW, NOW), Token::OtherApp);
        config.token.enabled = false;
        assert_eq!(worth(&config, NOW, NOW), Token::Absent);
    }

    #[test]
    fn a_token_is_replaced_when_it_says_something_else() {
        let config = TokenConfig::default();
        let old = claims("n1", NOW, NOW);
        assert!(is_due(None, "n1", &config, NOW));
        assert!(is_due(Some(&old), "n2", &config, NOW));
        assert!(!is_due(Some(&old), "n1", &config, NOW + 59));
        assert!(is_due(Some(&old), "n1", &config, NOW + 60));
        let short = TokenConfig {
            idle: Millis(20_000),
            ..TokenConfig::default()
        };
        assert!(is_due(Some(&old), "n1", &short, NOW + 10), "before it expires");
    }

    #[test]
    fn a_binding_keeps_its_beginning_until_it_moves() {
        let (table, config) = (table(&[("n1", Up), ("n2", Up)]), Config::default());
        let old = claims("n1", NOW - 100, NOW - 60);
        let same = renew(Some(&old), "n1", "abc", &table, &config, NOW);
        assert_eq!(
            (same.first_seen, same.last_seen, same.fallbacks),
            (NOW - 100, NOW, vec!["n2".to_owned()])
        );
        assert_eq!(
            renew(Some(&old), "n2", "abc", &table, &config, NOW).first_seen,
            NOW
        );
    }

    #[test]
    fn cookie_attributes() {
        let mut config = TokenConfig::default();
        assert_eq!(
            set_cookie("t", &config),
            "LIMPET=t; Path=/; HttpOnly; SameSite=Lax"
        );
        (config.secure, config.same_site) = (true, SameSite::None);
        assert_eq!(
            set_cookie("t", &config),
            "LIMPET=t; Path=/; HttpOnly; SameSite=None; Secure"
        );
    }
}
