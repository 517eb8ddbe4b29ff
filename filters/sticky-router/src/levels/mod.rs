//! The levels of the router: ways to find the worker a request has affinity to, asked in their order until one
//! answers.
//!
//! ```text
//! 1 token      the cookie made by this filter, if it opens and is not too old
//! 2 route      the route in the session id, if a worker has it
//! - balance    no affinity: copies of a session whose worker is unknown, or else the proxy's balancer
//! ```
//! A level is a pure function over the request, the configuration and the worker table. A new one is a file here, a
//! row of [`ORDER`], and where it reads more of a request, a line of [`reads`]. What all levels share (copies as
//! fallbacks, `strict`) is added by [`crate::decide`].

pub mod affinity;
pub mod balance;
pub mod route;
pub mod token;

use limpet_filters_common::capture::Reads;
use limpet_filters_common::session;
use limpet_wire::table::WorkerTable;

use self::affinity::Affinity;
use crate::config::Config;
use crate::request::Request;

/// Asks one level; `None` passes the request to the next.
pub type Decide = for<'a> fn(&'a Request<'_>, &Config, &'a WorkerTable) -> Option<Affinity<'a>>;

/// The name of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The token cookie.
    Token,
    /// The route in the session id.
    Route,
    /// No affinity to a known worker.
    Balance,
}

impl Level {
    /// The value of the label `level` in `limpet_router_decisions_total`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Route => "route",
            Self::Balance => "balance",
        }
    }
}

/// All levels, in the order in which they are asked.
pub const ORDER: [(Level, Decide); 3] = [
    (Level::Token, token::decide),
    (Level::Route, route::decide),
    (Level::Balance, balance::decide),
];

/// What the levels read of a request under `config`: its session, and the token cookie where there is one.
#[must_use]
pub fn reads(config: &Config) -> Reads {
    let reads = session::reads(&config.session);
    if config.token.enabled {
        reads.cookies()
    } else {
        reads
    }
}

/// The answer of the first level that has one, and which level that is.
#[must_use]
pub fn decide<'a>(
    request: &'a Request<'_>,
    config: &Config,
    table: &'a WorkerTable,
) -> Option<(Level, Affinity<'a>)> {
    ORDER
        .iter()
        .find_map(|(level, decide)| Some((*level, decide(request, config, table)?)))
}
