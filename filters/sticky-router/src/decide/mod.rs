//! The decision of the router: the workers a request may go to, as a pure function.
//!
//! ```text
//! request ──► first level that answers ──► its worker, then nodes with a copy ──► destinations
//!                                              └── none usable: any worker that takes new sessions
//! ```
//! The levels themselves are in [`crate::levels`]; this adds what they share: copies as fallbacks, `strict`, and what
//! the binder is handed. Reading requests and changing headers is left to [`crate::stream`].

use limpet_filters_common::session::Session;
use limpet_wire::table::{Worker, WorkerTable};

use crate::config::Config;
use crate::levels::{self, Level, balance};
use crate::request::Request;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The level that decided.
    pub level: Level,
    /// The destinations, most preferred first; empty where the proxy's balancer decides alone.
    pub workers: Vec<&'a Worker>,
    /// The route the request is bound to, as far as known.
    pub bound: Option<&'a str>,
    /// The session the request carries.
    pub session: Option<&'a Session>,
    /// `strict` is set and the bound worker takes no requests: the answer is 503.
    pub refused: bool,
}

impl Choice<'_> {
    /// The value of the destination header; `None`: no header.
    #[must_use]
    pub fn destination(&self) -> Option<String> {
        let mut workers = self.workers.iter();
        let mut text = workers.next()?.addr.clone();
        for worker in workers {
            text.push(',');
            text.push_str(&worker.addr);
        }
        Some(text)
    }

    fn first(&self) -> Option<&str> {
        self.workers.first().map(|worker| worker.route.as_str())
    }

    /// Whether the first destination is the session's bound worker.
    #[must_use]
    pub fn primary(&self) -> bool {
        self.session.is_some() && self.bound.is_some() && self.bound == self.first()
    }

    /// Whether the session's id names another route than the first destination.
    #[must_use]
    pub fn moved(&self) -> bool {
        let route = self.session.and_then(|session| session.route.as_deref());
        matches!((route, self.first()), (Some(route), Some(first)) if route != first)
    }

    /// Whether a bound request goes to another worker than the bound one.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        self.bound.is_some() && self.bound != self.first()
    }
}

/// Decides. `turn` is the number of the request, by which those without affinity are spread.
#[must_use]
pub fn choose<'a>(
    request: &'a Request<'_>,
    config: &Config,
    table: Option<&'a WorkerTable>,
    turn: u64,
) -> Choice<'a> {
    let mut choice = Choice {
        level: Level::Balance,
        workers: Vec::new(),
        bound: None,
        session: request.session.as_ref(),
        refused: false,
    };
    let Some(table) = table else { return choice };
    if let Some((level, affinity)) = levels::decide(request, config, table) {
        let mut destinations = affinity.destinations;
        choice.level = level;
        choice.bound = affinity.bound;
        if let Some(bound) = choice.bound {
            let usable = table.by_route(bound).map(Worker::takes_bound);
            choice.refused = config.strict && usable == Some(false);
            let id = choice.session.map_or("", |session| session.id.as_str());
            // A route that no worker has, without a session whose copies could be found: as if the request was new.
            if usable.is_some() || !id.is_empty() {
                destinations.push_holders(&config.app, id, bound);
            }
        }
        choice.workers = destinations.into_workers();
    }
    if choice.workers.is_empty() {
        choice.workers = balance::spread(table, turn);
    }
    choice
}

#[cfg(test)]
mod tests;
