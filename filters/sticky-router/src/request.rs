//! The request as the levels see it: captured bytes, and what every level needs read from them.
//!
//! Session and token are read once, before the first level is asked; levels read other headers from the capture.
//! What they conclude is theirs.

use std::rc::Rc;

use limpet_filters_common::capture::Capture;
use limpet_filters_common::session::{self, Found, Session};
use limpet_wire::table::WorkerTable;
use limpet_wire::token::Claims;

use crate::config::Config;
use crate::token::{self, Token};

/// A request, read once for all levels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// What was captured of it, by [`crate::levels::reads`].
    pub capture: Capture<'a>,
    /// When it started, in seconds since 1970.
    pub now: u64,
    /// The session it carries.
    pub session: Option<Session>,
    /// Cookie and path name different routes.
    pub conflict: bool,
    /// Its token cookie, validated.
    pub token: Token,
}

impl<'a> Request<'a> {
    /// Reads session and token. `open` opens the text of a token with the keys of the table; without a table no route
    /// is known and no token opens.
    pub fn read(
        capture: Capture<'a>,
        config: &Config,
        table: Option<&WorkerTable>,
        now: u64,
        open: impl Fn(&[u8], &WorkerTable) -> Option<Rc<Claims>>,
    ) -> Self {
        let known = |route: &str| table.is_some_and(|table| table.by_route(route).is_some());
        let Found { session, conflict } = session::read(&capture, &config.session, known);
        let token = match table {
            Some(table) => token::read(&capture.cookies, config, now, |text| open(text, table)),
            None => Token::Absent,
        };
        Self {
            capture,
            now,
            session,
            conflict,
            token,
        }
    }
}
