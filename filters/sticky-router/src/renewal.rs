//! The renewal of the token: when a response gives the client a new token cookie, and with which claims.
//!
//! Pure, from the old token's stamps and the time handed in. Sealing is `limpet-wire`'s part; the token of a request
//! is validated in [`crate::token`].

use limpet_wire::table::WorkerTable;
use limpet_wire::token::{Claims, FALLBACKS_MAX};

use crate::config::{Config, TokenConfig};
use crate::destinations::fallbacks;

/// The age at which a token gets a new last-seen stamp, in seconds; half the idle limit where that is shorter.
pub const REFRESH_SECS: u64 = 60;

/// Whether a client that sent the valid token `old` needs a new one after the worker `served` responded.
#[must_use]
pub fn is_due(old: Option<&Claims>, served: &str, config: &TokenConfig, now: u64) -> bool {
    let refresh = match config.idle.0 / 2_000 {
        0 => REFRESH_SECS,
        half => half.min(REFRESH_SECS),
    };
    old.is_none_or(|old| old.route != served || now >= old.last_seen.saturating_add(refresh))
}

/// The claims of the new token. `id` is the session id by which the fallbacks are ranked.
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

/// The `Set-Cookie` header with the token `text`.
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
    use crate::fixture::{claims, table};
    use limpet_filters_common::config::Millis;
    use limpet_wire::table::WorkerStatus::Up;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn a_token_is_replaced_when_its_claims_change() {
        let config = TokenConfig::default();
        let old = claims("n1", &[], NOW, NOW);
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
    fn a_binding_keeps_its_first_seen_stamp_until_it_moves() {
        let (table, config) = (table(&[("n1", Up), ("n2", Up)]), Config::default());
        let old = claims("n1", &[], NOW - 100, NOW - 60);
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
