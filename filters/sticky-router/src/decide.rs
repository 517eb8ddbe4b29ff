//! Which worker serves a request: the levels of the router, as a pure function.
//!
//! ```text
//! 1 token      the cookie made here, if it opens and is not too old       ┐ bound worker first, then
//! 2 route      the route in the session id, if a worker has it            ┘ the nodes that hold a copy
//! - balance    the proxy's balancer; among usable workers only
//! ```
//! A worker that is down, disabled or not ready is never named. Not here: opening tokens (handed in), headers,
//! time, and what the response says.

use limpet_filters_common::cookies;
use limpet_filters_common::id::{self, Session, Source};
use limpet_filters_common::config::{Prefer, SessionConfig};
use limpet_wire::placement;
use limpet_wire::table::{Worker, WorkerTable};
use limpet_wire::token::Claims;

use crate::config::Config;

/// The most destinations named to the proxy.
pub const DESTINATIONS_MAX: usize = 4;
/// The most cookies of the token's name that are tried; each costs a decryption.
pub const TOKENS_MAX: usize = 4;
/// How far the clocks of two proxies may differ, in seconds.
pub const SKEW_SECS: u64 = 60;

/// What of a request the router reads.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// Path and query, as sent.
    pub path: &'a [u8],
    /// Every `Cookie` header.
    pub cookies: Vec<&'a [u8]>,
}

/// Which level placed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The token cookie.
    Token,
    /// The route in the session id.
    Route,
    /// The proxy's balancer.
    Balance,
}

/// What the token cookie was worth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Token {
    /// The request has none, or no table says how to open it.
    #[default]
    Absent,
    /// Opened, of this app, and not too old.
    Valid(Claims),
    /// Opened and too old, or from the future.
    Expired,
    /// Opened and made for another app.
    OtherApp,
    /// Does not open.
    Refused,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<'t> {
    /// Which level decided.
    pub level: Level,
    /// Best first, at most [`DESTINATIONS_MAX`]; empty: the balancer decides alone.
    pub workers: Vec<&'t Worker>,
    /// The route the session is bound to, as far as known.
    pub bound: Option<String>,
    /// The session the request carries.
    pub session: Option<Session>,
    /// What the token cookie was worth.
    pub token: Token,
    /// Cookie and path name different routes.
    pub conflict: bool,
    /// `strict` is set and the bound worker cannot serve: answer 503.
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
        self.session.is_some() && self.bound.is_some() && self.bound.as_deref() == self.first()
    }

    /// Whether the session's id names another route than the first destination.
    #[must_use]
    pub fn moved(&self) -> bool {
        let route = self.session.as_ref().and_then(|session| session.route.as_deref());
        matches!((route, self.first()), (Some(route), Some(first)) if route != first)
    }

    /// Whether a bound request goes elsewhere than to its worker.
    #[must_use]
    pub fn fell_back(&self) -> bool {
        self.bound.is_some() && self.bound.as_deref() != self.first()
    }
}

/// Decides. `token` is what the cookie was worth ([`token`]); `turn` differs from request to request and spreads
/// those without a binding.
#[must_use]
pub fn choose<'t>(
    request: &Request<'_>,
    config: &Config,
    table: Option<&'t WorkerTable>,
    token: Token,
    turn: u64,
) -> Choice<'t> {
    let (session, conflict) = session(request, &config.session, table);
    let mut choice = Choice {
        level: Level::Balance,
        workers: Vec::new(),
        bound: None,
        session,
        token,
        conflict,
        refused: false,
    };
    let Some(table) = table else { return choice };
    let named = choice.session.as_ref().and_then(|session| session.route.clone());
    let mut order = Order { table, workers: Vec::new() };
    match (&choice.token, named) {
        (Token::Valid(claims), named) => {
            choice.level = Level::Token;
            choice.bound = Some(claims.route.clone());
            order.push(&claims.route);
            // The id may know of a later move than the token does.
            named.iter().chain(&claims.fallbacks).for_each(|route| order.push(route));
        }
        (_, Some(route)) => {
            let known = table.by_route(&route).is_some();
            choice.level = if known { Level::Route } else { Level::Balance };
            order.push(&route);
            choice.bound = Some(route);
        }
        (_, None) => {
            choice.workers = balance(table, turn);
            return choice;
        }
    }
    let bound = choice.bound.as_deref().unwrap_or_default();
    let usable = table.by_route(bound).map(Worker::takes_bound);
    choice.refused = config.strict && usable == Some(false);
    let id = choice.session.as_ref().map_or("", |session| session.id.as_str());
    if usable.is_some() || !id.is_empty() {
        order.holders(&config.app, id, bound);
    }
    choice.workers = order.workers;
    if choice.workers.is_empty() {
        // Bound to a worker nobody knows any more, with no session to look for: as if new.
        choice.workers = balance(table, turn);
    }
    choice
}

/// What the request's token cookie is worth at `now` (seconds since 1970). `open` opens one token's text.
pub fn token(
    request: &Request<'_>,
    config: &Config,
    now: u64,
    mut open: impl FnMut(&[u8]) -> Option<Claims>,
) -> Token {
    if !config.token.enabled {
        return Token::Absent;
    }
    let mut worth = Token::Absent;
    for text in cookies::values(&request.cookies, &config.token.cookie).take(TOKENS_MAX) {
        worth = match open(text) {
            None => Token::Refused,
            Some(claims) if claims.app != config.app => Token::OtherApp,
            Some(claims) if too_old(&claims, config, now) => Token::Expired,
            Some(claims) => return Token::Valid(claims),
        };
    }
    worth
}

fn too_old(claims: &Claims, config: &Config, now: u64) -> bool {
    let past = |since: u64, limit: u64| limit > 0 && now > since.saturating_add(limit / 1_000 + SKEW_SECS);
    claims.last_seen > now.saturating_add(SKEW_SECS)
        || past(claims.last_seen, config.token.idle.0)
        || past(claims.first_seen, config.token.lifetime.0)
}

/// The session a request carries, and whether cookie and path disagree about its route. Of several cookies the
/// first one counts whose route a worker has, else the first one.
#[must_use]
pub fn session(
    request: &Request<'_>,
    config: &SessionConfig,
    table: Option<&WorkerTable>,
) -> (Option<Session>, bool) {
    let known = |session: &Session| {
        table.zip(session.route.as_deref()).is_some_and(|(table, route)| table.by_route(route).is_some())
    };
    let mut cookie: Option<Session> = None;
    for value in cookies::values(&request.cookies, &config.cookie) {
        let Some(found) = read_session(value, config, Source::Cookie) else { continue };
        if known(&found) {
            cookie = Some(found);
            break;
        }
        cookie.get_or_insert(found);
    }
    let path = id::path_parameter(request.path, &config.path)
        .and_then(|value| read_session(value, config, Source::Path));
    let conflict = matches!((&cookie, &path), (Some(one), Some(two)) if one.route != two.route);
    let session = match config.prefer {
        Prefer::Cookie => cookie.or(path),
        Prefer::Path => path.or(cookie),
    };
    (session, conflict)
}

/// The id, without its route, of a session cookie's value.
#[must_use]
pub fn read_id(text: &[u8], config: &SessionConfig) -> Option<String> {
    read_session(text, config, Source::Cookie).map(|session| session.id)
}

fn read_session(text: &[u8], config: &SessionConfig, source: Source) -> Option<Session> {
    let (id, route) = if config.route { id::split(text) } else { (text, None) };
    Some(Session { id: id::valid(id)?.to_owned(), route: route.map(str::to_owned), source })
}

/// The routes to go to when the worker of `bound` is lost, best first: one worker of every other node, in the
/// order in which the nodes hold the session `(app, id)`.
#[must_use]
pub fn fallbacks(table: &WorkerTable, app: &str, id: &str, bound: &str, max: usize) -> Vec<String> {
    let mut order = Order { table, workers: Vec::new() };
    order.holders(app, id, bound);
    order.workers.into_iter().map(|worker| worker.route.clone()).filter(|route| route != bound).take(max).collect()
}

/// Destinations being collected: usable, without duplicates, not too many.
struct Order<'t> {
    table: &'t WorkerTable,
    workers: Vec<&'t Worker>,
}

impl<'t> Order<'t> {
    fn push(&mut self, route: &str) {
        if let Some(worker) = self.table.by_route(route) {
            self.push_worker(worker);
        }
    }

    fn push_worker(&mut self, worker: &'t Worker) {
        let known = self.workers.iter().any(|other| other.addr == worker.addr);
        if worker.takes_bound() && !known && self.workers.len() < DESTINATIONS_MAX {
            self.workers.push(worker);
        }
    }

    /// Adds the workers of the nodes that hold `(app, id)`: one of each other node by rank, then the rest of them,
    /// then those on the bound worker's own node. Workers that are drained come after all others.
    fn holders(&mut self, app: &str, id: &str, bound: &str) {
        if self.workers.len() >= DESTINATIONS_MAX {
            return;
        }
        let home = self.table.by_route(bound).map(|worker| worker.node.as_str());
        let mut nodes: Vec<&'t str> = Vec::new();
        for worker in &self.table.workers {
            if !nodes.contains(&worker.node.as_str()) {
                nodes.push(&worker.node);
            }
        }
        placement::rank(&mut nodes, app, id);
        let place = |worker: &Worker| nodes.iter().position(|node| *node == worker.node);
        let mut all: Vec<&'t Worker> = self.table.workers.iter().collect();
        all.sort_by_cached_key(|worker| {
            let score = placement::score(&worker.route, app, id);
            (!worker.takes_new(), place(worker), std::cmp::Reverse(score))
        });
        let mut served: Vec<&str> = Vec::new();
        let mut later: Vec<&'t Worker> = Vec::new();
        for worker in all {
            let first_of_node = !served.contains(&worker.node.as_str());
            if first_of_node && home != Some(worker.node.as_str()) && worker.takes_bound() {
                served.push(&worker.node);
                self.push_worker(worker);
            } else {
                later.push(worker);
            }
        }
        later.sort_by_key(|worker| home == Some(worker.node.as_str()));
        later.into_iter().for_each(|worker| self.push_worker(worker));
    }
}

/// Destinations of a request without a binding: none when every worker takes it, because then the proxy's own
/// balancer knows best; else those that do, from a different one each turn, by weight.
fn balance(table: &WorkerTable, turn: u64) -> Vec<&Worker> {
    let eligible: Vec<&Worker> = table.workers.iter().filter(|worker| worker.takes_new()).collect();
    if eligible.len() == table.workers.len() {
        return Vec::new();
    }
    let total: u64 = eligible.iter().map(|worker| u64::from(worker.weight.max(1))).sum();
    // The golden ratio's multiples are spread evenly over any stretch of turns (Weyl).
    let point = (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_mul(total) >> 32;
    let mut passed = 0;
    let start = eligible
        .iter()
        .position(|worker| {
            passed += u64::from(worker.weight.max(1));
            point < passed
        })
        .unwrap_or(0);
    eligible.iter().cycle().skip(start).take(eligible.len().min(DESTINATIONS_MAX)).copied().collect()
}

#[cfg(test)]
mod tests;
