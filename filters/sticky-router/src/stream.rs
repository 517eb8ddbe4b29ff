//! The stream context of the router: one request, captured with one host call and given its destinations, and its
//! response, given a new token where one is due.
//!
//! Host calls for a request bound by a token: 4 (read the headers, rewrite `cookie`, add the destination, hand the
//! decision to the binder), and 1 for its response (the upstream address). One more for each reserved header a client
//! sent; 2 more where a token is set (whether a worker responded, the cookie), and 3 where that response also begins
//! the session. What to do is decided in [`crate::decide`] and [`crate::renewal`].

use std::rc::Rc;

use limpet_filters_common::capture::{Capture, Snapshot};
use limpet_filters_common::decision::{self, Decision};
use limpet_filters_common::hostcalls::{self, Map};
use limpet_filters_common::pairs::Pairs;
use limpet_filters_common::upstream::Upstream;
use limpet_filters_common::{clock, cookies, random, session, tables};
use limpet_wire::names::DESTINATION;
use limpet_wire::token::{Claims, seal};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::request::Request;
use crate::router::Router;
use crate::token::Token;
use crate::{decide, renewal};

/// The context of one request. The binder's module links it too, for the combined filter.
#[derive(Debug)]
pub struct Stream {
    router: Rc<Router>,
    routed: Option<Routed>,
}

/// What the response phase needs of the request, whose headers cannot be read any more by then.
#[derive(Debug)]
struct Routed {
    token: Option<Rc<Claims>>,
    session_id: Option<String>,
}

impl Stream {
    /// The context of a request that was not read yet.
    #[must_use]
    pub fn new(router: Rc<Router>) -> Self {
        Self { router, routed: None }
    }

    /// Routes the request. `None`: it got a local reply, and no filter may change it any more.
    pub fn route(&mut self) -> Option<Decision> {
        let router = Rc::clone(&self.router);
        let Some(snapshot) = Snapshot::take(&router.reads) else {
            return Some(Decision::default());
        };
        let config = &router.config;
        let table = tables::current();
        let table = table.as_deref();
        let now = clock::now_ms() / 1_000;
        let capture = snapshot.capture(&router.reads);
        let request = Request::read(capture, config, table, now, |text, table| {
            router.open(text, table)
        });
        let choice = decide::choose(&request, config, table, router.next_turn());
        router.count(&request, &choice);
        if choice.refused {
            let body = "the worker of this session is not available\n";
            hostcalls::send_local_response(503, "limpet_bound_worker_unusable", body);
            return None;
        }
        request.capture.remove_reserved();
        if config.token.enabled {
            remove_token(&request.capture, &config.token.cookie);
        }
        if let Some(destination) = choice.destination() {
            hostcalls::add_header(
                Map::RequestHeaders,
                DESTINATION.as_bytes(),
                destination.as_bytes(),
            );
        }
        let (primary, moved) = (choice.primary(), choice.moved());
        let Request { session, token, .. } = request;
        let token = if let Token::Valid(claims) = token {
            Some(claims)
        } else {
            None
        };
        let session_id = session.as_ref().map(|session| session.id.clone());
        self.routed = Some(Routed { token, session_id });
        Some(Decision {
            session,
            primary,
            moved,
        })
    }

    /// Gives the client a new token where one is due.
    pub fn renew_token(&mut self, upstream: &Upstream) {
        // Taken, so that a second response of this stream (after a local reply) sets nothing.
        if let (Some(routed), true) = (self.routed.take(), self.router.config.token.enabled) {
            let _ = self.set_token(routed, upstream);
        }
    }

    fn set_token(&self, routed: Routed, upstream: &Upstream) -> Option<()> {
        let config = &self.router.config;
        let table = tables::current()?;
        let served = &upstream.worker(&table)?.route;
        let now = clock::now_ms() / 1_000;
        let old = routed.token.as_deref();
        if !renewal::is_due(old, served, &config.token, now) || !upstream.responded() {
            return None;
        }
        let nonce = random::nonce()?;
        // For a client without a session, the nonce ranks the fallbacks, so that clients have different ones.
        let id = routed
            .session_id
            .or_else(|| self.begun_session())
            .unwrap_or_else(|| format!("{nonce:x?}"));
        let claims = renewal::renew(old, served, &id, &table, config, now);
        let text = seal(&claims, &table.cluster, table.keys.first()?, nonce).ok()?;
        let cookie = renewal::set_cookie(&text, &config.token);
        hostcalls::add_header(Map::ResponseHeaders, b"set-cookie", cookie.as_bytes());
        self.router.counters.tokens_set.increment();
        Some(())
    }

    /// The id of a session that this response begins.
    fn begun_session(&self) -> Option<String> {
        let headers = hostcalls::header_pairs(Map::ResponseHeaders)?;
        let set_cookies = Pairs::new(&headers)
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"set-cookie"))
            .map(|(_, value)| value);
        session::begun(set_cookies, &self.router.config.session)
    }
}

/// Removes the token cookie from the request: only routers read it.
fn remove_token(capture: &Capture<'_>, name: &str) {
    let Some(left) = cookies::without(&capture.cookies, name) else {
        return;
    };
    if capture.cookies.len() == 1 && !left.is_empty() {
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
        self.renew_token(&Upstream::read());
        Action::Continue
    }
}
