//! Level 1, the token: the worker named by the cookie that a router of the cluster made for the client.
//!
//! Only a valid token counts; [`crate::token`] says which is. Copies that take the place of the token's workers are
//! added by [`crate::decide`].

use limpet_wire::table::WorkerTable;

use super::affinity::Affinity;
use crate::config::Config;
use crate::destinations::Destinations;
use crate::request::Request;
use crate::token::Token;

/// Asks this level. The route in the session id comes second, because the session may have moved after the token was
/// made; then the fallbacks in the token.
#[must_use]
pub fn decide<'a>(request: &'a Request<'_>, _: &Config, table: &'a WorkerTable) -> Option<Affinity<'a>> {
    let Token::Valid(claims) = &request.token else {
        return None;
    };
    let route_in_id = request
        .session
        .as_ref()
        .and_then(|session| session.route.as_deref());
    let mut destinations = Destinations::new(table);
    destinations.push(&claims.route);
    route_in_id.into_iter().for_each(|route| destinations.push(route));
    claims.fallbacks.iter().for_each(|route| destinations.push(route));
    Some(Affinity {
        bound: Some(&claims.route),
        destinations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{claims, session, table};
    use limpet_wire::table::WorkerStatus::{Down, Up};

    #[test]
    fn its_worker_then_that_of_the_id_then_its_fallbacks() {
        let table = table(&[("n1", Up), ("n2", Up), ("n3", Up), ("n4", Down)]);
        let request = Request {
            session: Some(session("abc", Some("n2"))),
            token: Token::Valid(claims("n1", &["n4", "n3", "gone"], 0, 0)),
            ..Request::default()
        };
        let affinity = decide(&request, &Config::default(), &table).unwrap();
        assert_eq!(affinity.bound, Some("n1"));
        let workers = affinity.destinations.into_workers();
        let routes: Vec<_> = workers.iter().map(|worker| worker.route.as_str()).collect();
        assert_eq!(routes, ["n1", "n2", "n3"]);
    }

    #[test]
    fn a_token_that_is_not_valid_decides_nothing() {
        let table = table(&[("n1", Up)]);
        for token in [Token::Absent, Token::Expired, Token::OtherApp, Token::Refused] {
            let request = Request {
                token,
                ..Request::default()
            };
            assert!(decide(&request, &Config::default(), &table).is_none());
        }
    }
}
