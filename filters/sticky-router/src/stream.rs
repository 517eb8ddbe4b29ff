//! One request in the router: reads its headers with one host call, writes the destination, and on the way back
//! gives the client a token when something about it is new.
//!
//! Host calls: 4 for a request bound by a token (read the headers, rewrite `cookie`, add the destination, hand the
//! decision over), one more for each reserved header a client sent; 1 for its response (who served it), and 3 when
//! a token is set (why the response came, randomness, the cookie).

use std::rc::Rc;

use limpet_filters_common::decision::{self, Decision};
use limpet_filters_common::hostcalls::{self, Map};
use limpet_filters_common::pairs::Pairs;
use limpet_filters_common::{clock, cookies, random, tables};
use limpet_wire::names::{self, DESTINATION};
use limpet_wire::token::{Claims, seal};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::Router;
use crate::decide::{self, Request};
use crate::token::{self, Token};

/// The context of one request.
pub(crate) struct Stream {
    router: Rc<Router>,
    /// What the response phase needs, because the request's headers are gone by then.
    seen: Option<Seen>,
}

struct Seen {
    token: Option<Rc<Claims>>,
    session_id: Option<String>,
}

impl Stream {
    pub(crate) fn new(router: Rc<Router>) -> Self {
        Self { router, seen: None }
    }

    fn route(&mut self) -> Action {
        let Some(headers) = hostcalls::header_pairs(Map::RequestHeaders) else {
            return Action::Continue;
        };
        let mut request = Request::default();
        let mut reserved: Vec<&[u8]> = Vec::new();
        for (name, value) in Pairs::new(&headers) {
            if name == b":path" {
                request.path = value;
            } else if name.eq_ignore_ascii_case(b"cookie") {
                request.cookies.push(value);
            } else if names::is_reserved(name) && !reserved.contains(&name) {
                reserved.push(name);
            }
        }
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

        for name in reserved {
            hostcalls::remove_header(Map::RequestHeaders, name);
        }
        if choice.refused {
            hostcalls::send_local_response(
                503,
                "limpet_bound_worker_unusable",
                "the session's worker is not available\n",
            );
            return Action::Pause;
        }
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
        let (primary, moved) = (choice.primary(), choice.moved());
        let session_id = choice.session.as_ref().map(|session| session.id.clone());
        let told = Decision {
            session: choice.session,
            primary,
            moved,
        };
        hostcalls::set_property(decision::PROPERTY, &told.encode());
        let token = if let Token::Valid(claims) = token {
            Some(claims)
        } else {
            None
        };
        self.seen = Some(Seen { token, session_id });
        Action::Continue
    }

    /// Gives the client a token when it has none, or one that says something else than what happened.
    fn remember(&mut self) -> Option<()> {
        // Taken, so that a second response of this stream (after a local reply) sets nothing.
        let seen = self.seen.take()?;
        let config = &self.router.config;
        let table = tables::current()?;
        let served = hostcalls::property(b"upstream\0address")?;
        let served = &table.by_addr(std::str::from_utf8(&served).ok()?)?.route;
        let now = clock::now_ms() / 1_000;
        let old = seen.token.as_deref();
        if !token::is_due(old, served, &config.token, now) {
            return Some(());
        }
        if hostcalls::property(b"response\0code_details")? != b"via_upstream" {
            return None;
        }
        let nonce = random::nonce()?;
        // Without a session yet, the nonce spreads the fallbacks of different clients.
        let id = seen
            .session_id
            .or_else(|| self.new_session())
            .unwrap_or_else(|| format!("{nonce:x?}"));
        let claims = token::renew(old, served, &id, &table, config, now);
        let text = seal(&claims, &table.cluster, table.keys.first()?, nonce).ok()?;
        let cookie = token::set_cookie(&text, &config.token);
        hostcalls::add_header(Map::ResponseHeaders, b"set-cookie", cookie.as_bytes());
        self.router.counters.tokens_set.increment();
        Some(())
    }

    /// The id of a session that this response begins.
    fn new_session(&self) -> Option<String> {
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
    match (request.cookies.len(), left.is_empty()) {
        (1, false) => {
            hostcalls::replace_header(Map::RequestHeaders, b"cookie", &left);
        }
        (_, empty) => {
            hostcalls::remove_header(Map::RequestHeaders, b"cookie");
            if !empty {
                hostcalls::add_header(Map::RequestHeaders, b"cookie", &left);
            }
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.route()
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if self.router.config.token.enabled {
            let _ = self.remember();
        }
        Action::Continue
    }
}
