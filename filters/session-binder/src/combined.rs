//! The combined filter: router and binder as one plugin, for proxies in which each filter of the chain costs time.
//!
//! The stream contexts of the two run one after the other, as they would in the chain, but request headers are
//! captured once, the decision is handed over in memory, and the upstream address is read once. Host calls for a
//! request of a bound session: 5, and 2 for its response. All decisions are left to the two filters.

use std::rc::Rc;

use limpet_filters_common::config::{ConfigError, DEFAULT_APP, Millis, SessionConfig, read};
use limpet_filters_common::root::Plugin;
use limpet_filters_common::upstream::Upstream;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use serde::Deserialize;
use sticky_router::config::TokenConfig;
use sticky_router::router::Router;

use crate::binder::Binder;
use crate::config::{Ack, Config};
use crate::stream::Stream;

/// The keys of both filters; one that both have is written once.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CombinedConfig {
    app: String,
    session: SessionConfig,
    token: TokenConfig,
    strict: bool,
    ack: Ack,
    ack_timeout: Millis,
    touch_interval: Millis,
}

impl Default for CombinedConfig {
    fn default() -> Self {
        let Config {
            ack,
            ack_timeout,
            touch_interval,
            ..
        } = Config::default();
        let (session, token) = (SessionConfig::default(), TokenConfig::default());
        Self {
            app: DEFAULT_APP.into(),
            session,
            token,
            strict: false,
            ack,
            ack_timeout,
            touch_interval,
        }
    }
}

impl CombinedConfig {
    fn split(self) -> Result<(sticky_router::config::Config, Config), ConfigError> {
        let Self {
            app,
            session,
            token,
            strict,
            ack,
            ack_timeout,
            touch_interval,
        } = self;
        let router = sticky_router::config::Config {
            app: app.clone(),
            session: session.clone(),
            token,
            strict,
        };
        let binder = Config {
            app,
            session,
            ack,
            ack_timeout,
            touch_interval,
        };
        router.check()?;
        binder.check()?;
        Ok((router, binder))
    }
}

/// Creates the plugin from its configuration.
pub(crate) fn build(configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
    let (router, binder) = read::<CombinedConfig>(configuration)?.split()?;
    Ok(Box::new(CombinedPlugin {
        router: Rc::new(Router::new(router)),
        binder: Rc::new(Binder::new(binder)),
    }))
}

struct CombinedPlugin {
    router: Rc<Router>,
    binder: Rc<Binder>,
}

impl Plugin for CombinedPlugin {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Combined {
            router: sticky_router::stream::Stream::new(Rc::clone(&self.router)),
            binder: Stream::new(Rc::clone(&self.binder)),
        })
    }

    fn tick(&mut self, now: u64) {
        self.binder.tick(now);
    }

    fn reply(&mut self, token: u32, status: Option<u16>, now: u64) {
        self.binder.on_reply(token, status, now);
    }
}

struct Combined {
    router: sticky_router::stream::Stream,
    binder: Stream,
}

impl HttpContext for Combined {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(decision) = self.router.route() else {
            return Action::Pause;
        };
        self.binder.write_request(decision);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let upstream = Upstream::read();
        let action = self.binder.read_response(&upstream);
        self.router.renew_token(&upstream);
        action
    }
}

impl Context for Combined {
    fn on_http_call_response(
        &mut self,
        token: u32,
        num_headers: usize,
        body_size: usize,
        num_trailers: usize,
    ) {
        self.binder
            .on_http_call_response(token, num_headers, body_size, num_trailers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_two() {
        let (router, binder) = read::<CombinedConfig>(b"{}").unwrap().split().unwrap();
        assert_eq!(
            (router, binder),
            (sticky_router::config::Config::default(), Config::default())
        );
    }

    #[test]
    fn the_checks_are_those_of_the_two() {
        for text in [r#"{"token":{"cookie":"JSESSIONID"}}"#, r#"{"ack_timeout":"0s"}"#] {
            assert!(
                read::<CombinedConfig>(text.as_bytes()).unwrap().split().is_err(),
                "{text}"
            );
        }
        assert!(read::<CombinedConfig>(br#"{"acks":"one"}"#).is_err());
    }
}
