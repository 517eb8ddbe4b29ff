//! The session cookie after a takeover: the `Set-Cookie` headers of a response, with the route of the worker that
//! served it.
//!
//! Whether there is a takeover is decided in [`super`]. An id in the path cannot be rewritten here: it is in the links
//! of the body.

use limpet_filters_common::config::SessionConfig;
use limpet_filters_common::cookies::SetCookie;
use limpet_filters_common::id;
use limpet_filters_common::session::Session;

/// All `Set-Cookie` headers after the worker `served` took `session` over; `None` where they stay as they are. Where
/// the worker sets the session cookie itself, only another worker's route in it is replaced; where it does not, the
/// cookie is added.
pub(super) fn rewrite(
    config: &SessionConfig,
    session: &Session,
    served: &str,
    set_cookies: &[&[u8]],
) -> Option<Vec<Vec<u8>>> {
    let name = &config.cookie;
    let mut found = false;
    let mut changed = false;
    let mut cookies: Vec<Vec<u8>> = set_cookies
        .iter()
        .map(|header| {
            let Some(cookie) = SetCookie::parse(header, name) else {
                return header.to_vec();
            };
            found = true;
            match id::split(cookie.value) {
                (id, Some(route)) if route != served && !cookie.deletes() => match id::valid(id) {
                    Some(id) => {
                        changed = true;
                        cookie.with_value(name, &format!("{id}.{served}"))
                    }
                    None => header.to_vec(),
                },
                _ => header.to_vec(),
            }
        })
        .collect();
    if !found {
        let secure = if config.secure { "; Secure" } else { "" };
        let (id, path) = (&session.id, &config.cookie_path);
        cookies.push(format!("{name}={id}.{served}; Path={path}; HttpOnly{secure}").into_bytes());
    }
    (changed || !found).then_some(cookies)
}
