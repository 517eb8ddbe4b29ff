//! The sticky router: says which worker serves a request, before the proxy chooses one.
//!
//! ```text
//! request  ──► strip what only Limpet may say ──► token? route? else balance ──► x-limpet-destination
//! response ◄── token cookie, when what it says changed ◄── who served it
//! ```
//! [`decide`] is the whole decision, without a proxy. The worker table is in memory; no request waits for a core.
//! Deliberately not here: anything about what is in a session (that is the binder's).

pub mod cache;
pub mod config;
pub mod decide;
pub mod destinations;
#[cfg(test)]
mod fixture;
mod stream;
pub mod token;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use limpet_filters_common::config::ConfigError;
use limpet_filters_common::metrics::Counter;
use limpet_filters_common::root::Plugin;
use limpet_wire::table::WorkerTable;
use limpet_wire::token::Claims;
use proxy_wasm::traits::HttpContext;

use crate::cache::TokenCache;
use crate::config::Config;
use crate::decide::{Choice, Level};
use crate::stream::Stream;
use crate::token::Token;

/// The plugin's root id.
pub const ROOT_ID: &str = "sticky_router";

/// Where the host enters the module. A module that links this one enters here too, and registers its own plugins
/// before, in its initialisers.
mod entry {
    proxy_wasm::main! {{
        limpet_filters_common::root::register(crate::ROOT_ID, crate::build);
        proxy_wasm::set_root_context(limpet_filters_common::root::new);
    }}
}

/// Makes the plugin.
fn build(configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
    let config = Config::read(configuration)?;
    let router = Router {
        config,
        counters: Counters::define(),
        turn: Cell::new(0),
        tokens: RefCell::default(),
    };
    Ok(Box::new(RouterPlugin(Rc::new(router))))
}

struct RouterPlugin(Rc<Router>);

impl Plugin for RouterPlugin {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Stream::new(Rc::clone(&self.0)))
    }
}

/// What all requests of one VM share.
struct Router {
    config: Config,
    counters: Counters,
    turn: Cell<u64>,
    tokens: RefCell<TokenCache>,
}

impl Router {
    fn next_turn(&self) -> u64 {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    fn open(&self, text: &[u8], table: &WorkerTable) -> Option<Rc<Claims>> {
        self.tokens.borrow_mut().open(text, table)
    }

    fn count(&self, choice: &Choice<'_>, token: &Token) {
        let counters = &self.counters;
        match choice.level {
            Level::Token => counters.by_token.increment(),
            Level::Route => counters.by_route.increment(),
            Level::Balance => counters.by_balance.increment(),
        }
        match token {
            Token::Absent | Token::Valid(_) => {}
            Token::Expired => counters.tokens_expired.increment(),
            Token::OtherApp => counters.tokens_other_app.increment(),
            Token::Refused => counters.tokens_refused.increment(),
        }
        for (happened, counter) in [
            (choice.fell_back(), counters.fallbacks),
            (choice.conflict, counters.conflicts),
            (choice.refused, counters.strict_refusals),
        ] {
            if happened {
                counter.increment();
            }
        }
    }
}

struct Counters {
    by_token: Counter,
    by_route: Counter,
    by_balance: Counter,
    fallbacks: Counter,
    conflicts: Counter,
    strict_refusals: Counter,
    tokens_set: Counter,
    tokens_expired: Counter,
    tokens_other_app: Counter,
    tokens_refused: Counter,
}

impl Counters {
    fn define() -> Self {
        let decisions =
            |level| Counter::define(&format!("limpet_router_decisions_total{{level=\"{level}\"}}"));
        let unusable = |reason| {
            Counter::define(&format!(
                "limpet_router_tokens_unusable_total{{reason=\"{reason}\"}}"
            ))
        };
        Self {
            by_token: decisions("token"),
            by_route: decisions("route"),
            by_balance: decisions("balance"),
            fallbacks: Counter::define("limpet_router_fallbacks_total"),
            conflicts: Counter::define("limpet_router_conflicts_total"),
            strict_refusals: Counter::define("limpet_router_strict_refusals_total"),
            tokens_set: Counter::define("limpet_router_tokens_set_total"),
            tokens_expired: unusable("expired"),
            tokens_other_app: unusable("other_app"),
            tokens_refused: unusable("refused"),
        }
    }
}
