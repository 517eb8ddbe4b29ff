//! The shared state of one router plugin: configuration, counters, and the token cache.
//!
//! One for all requests of a VM. Each request's own state is in [`crate::stream`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use limpet_filters_common::capture::Reads;
use limpet_filters_common::metrics::Counter;
use limpet_wire::table::WorkerTable;
use limpet_wire::token::Claims;

use crate::config::Config;
use crate::decide::Choice;
use crate::levels::{self, Level};
use crate::request::Request;
use crate::token::Token;
use crate::token_cache::TokenCache;

/// A configured router.
#[derive(Debug)]
pub struct Router {
    pub(crate) config: Config,
    pub(crate) reads: Reads,
    pub(crate) counters: Counters,
    turn: Cell<u64>,
    tokens: RefCell<TokenCache>,
}

impl Router {
    /// Defines the counters; call it while a plugin is configured.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            reads: levels::reads(&config),
            config,
            counters: Counters::define(),
            turn: Cell::new(0),
            tokens: RefCell::default(),
        }
    }

    pub(crate) fn next_turn(&self) -> u64 {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    pub(crate) fn open(&self, text: &[u8], table: &WorkerTable) -> Option<Rc<Claims>> {
        self.tokens.borrow_mut().open(text, table)
    }

    pub(crate) fn count(&self, request: &Request<'_>, choice: &Choice<'_>) {
        let counters = &self.counters;
        for (level, counter) in &counters.decisions {
            if *level == choice.level {
                counter.increment();
            }
        }
        match request.token {
            Token::Absent | Token::Valid(_) => {}
            Token::Expired => counters.tokens_expired.increment(),
            Token::OtherApp => counters.tokens_other_app.increment(),
            Token::Refused => counters.tokens_refused.increment(),
        }
        for (happened, counter) in [
            (choice.fell_back(), counters.fallbacks),
            (request.conflict, counters.conflicts),
            (choice.refused, counters.strict_refusals),
        ] {
            if happened {
                counter.increment();
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Counters {
    decisions: [(Level, Counter); levels::ORDER.len()],
    fallbacks: Counter,
    conflicts: Counter,
    strict_refusals: Counter,
    pub(crate) tokens_set: Counter,
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
            decisions: levels::ORDER.map(|(level, _)| (level, decisions(level.name()))),
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
