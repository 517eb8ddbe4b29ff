//! One request in the router: reads its headers with one host call, writes the destination, and on the way back
//! gives the client a token when something about it is new.
//!
//! Host calls for a request bound by a token: 4 (read the headers, rewrite `cookie`, add the destination, hand the
//! decision over), and 1 for its response (who answered). One more for each reserved header a client sent; 2 more
//! when a token is set (whether a worker answered, the cookie), and 3 if that response also begins the session.

use std::rc::Rc;

use limpet_filters_common::decision::{self, Decision};
use limpet_filters_common::hostcalls::{self, Map};
use limpet_filters_common::inbound::Request;
use limpet_filters_common::pairs::Pairs;
use limpet_filters_common::upstream::Upstream;
use limpet_filters_common::{clock, cookies, random, tables};
use limpet_wire::names::DESTINATION;
use limpet_wire::token::{Claims, seal};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::decide;
use crate::router::Router;
use crate::token::{self, Token};

/// The context of one request. Also a part of the binder's module, which can do both filters' work at once.
#[derive(Debug)]
pub struct Stream {
    router: Rc<Router>,
    seen: Option<Seen>,
}

/// What the response phase needs, because the request's headers are gone by then.
#[derive(Debug)]
struct Seen {
    token: Option<Rc<Claims>>,
    session_id: Option<String>,
}

impl Stream {
    /// A request that was not read yet.
    #[must_use]
    pub fn new(router: Rc<Router>) -> Self {
        Self { router, seen: None }
    }

    /// Routes the request. `None`: it was answered from here, and nobody may touch it any more.
    pub fn route(&mut self) -> Option<Decision> {
        let Some(headers) = hostcalls::header_pairs(Map::RequestHeaders) else {
            return Some(Decision::default());
        };
        let request = Request::read(&headers);
        let router = Rc::clone(&self.router);
        let config = &router.config;
        let table = tables::current();
        let now = clock::now_ms() / 1_000;
        let token = match &table {
            Some(table) => token::read(&request.cookies, config, now, |text| router.open(text, table)),
            None => Token::Absent,
        };
        let choice = decide::choose(&request, config, table.as_deref(), &token, router.next_turn());
        router.count(&choice, &token);
        if choice.refused {
            let body = "the worker of this session is not available\n";
            hostcalls::send_local_response(503, "limpet_bound_worker_unusable", body);
            return None;
        }
        request.strip();
        if config.token.enabled {
            hide_token(&request, &config.token.cookie);
        }
        if let Some(destination) = choice.destination() {
            hostcalls::add_header(
                Map::RequestHeaders,
                DESTINATION.as_bytes(),
                destination.as_bytes(),
            );
        }
        let token = if let Token::Valid(claims) = token {
            Some(claims)
        } else {
            None
        };
        let session_id = choice.session.as_ref().map(|session| session.id.clone());
        self.seen = Some(Seen { token, session_id });
        let (primary, moved) = (choice.primary(), choice.moved());
        Some(Decision {
            session: choice.session,
            primary,
            moved,
        })
    }

    /// Gives the client a token when it has none, or one that says something else than what happened.
    pub fn remember(&mut self, upstream: &Upstream) {
        // Taken, so that a second response of this stream (after a local reply) sets nothing.
        if let (Some(seen), true) = (self.seen.take(), self.router.config.token.enabled) {
            let _ = self.set_token(seen, upstream);
        }
    }

    fn set_token(&self, seen: Seen, upstream: &Upstream) -> Option<()> {
        let config = &self.router.config;
        let table = tables::current()?;
        let served = &upstream.worker(&table)?.route;
        let now = clock::now_ms() / 1_000;
        let old = seen.token.as_deref();
        if !token::is_due(old, served, &config.token, now) || !upstream.answered() {
            return None;
        }
        let nonce = random::nonce()?;
        // Without a session yet, the nonce spreads the fallbacks of different clients.
        let id = seen
            .session_id
            .or_else(|| self.begun())
            .unwrap_or_else(|| format!("{nonce:x?}"));
        let claims = token::renew(old, served, &id, &table, config, now);
        let text = seal(&claims, &table.cluster, table.keys.first()?, nonce).ok()?;
        let cookie = token::set_cookie(&text, &config.token);
        hostcalls::add_header(Map::ResponseHeaders, b"set-cookie", cookie.as_bytes());
        self.router.counters.tokens_set.increment();
        Some(())
    }

    /// The id of a session that this response begins.
    fn begun(&self) -> Option<String> {
        let config = &self.router.config.session;
        let headers = hostcalls::header_pairs(Map::ResponseHeaders)?;
        let mut cookies = Pairs::new(&headers)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"))
            .filter_map(|(_, value)| cookies::SetCookie::parse(value, &config.cookie));
        decide::read_id(cookies.find(|cookie| !cookie.deletes())?.value, config)
    }
}

/// The worker has no use for the token.
fn hide_token(request: &Request<'_>, name: &str) {
    let Some(left) = cookies::without(&request.cookies, name) else {
        return;
    };
    if request.cookies.len() == 1 && !left.is_empty() {
        hostcalls::replace_header(Map::RequestHeaders, b"cookie", &left);
        return;
    }
    hostcalls::remove_header(Map::RequestHeaders, b"cookie");
    if !left.is_empty() {
        hostcalls::add_header(Map::RequestHeaders, b"cookie", &left);
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(decision) = self.route() else {
            return Action::Pause;
        };
        hostcalls::set_property(decision::PROPERTY, &decision.encode());
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.remember(&Upstream::read());
        Action::Continue
    }
}
