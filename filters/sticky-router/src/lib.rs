//! The sticky router: says which worker serves a request, before the proxy chooses one.
//!
//! ```text
//! request  ──► strip what only Limpet may say ──► token? route? else balance ──► x-limpet-destination
//! response ◄── token cookie, when what it says changed ◄── who answered
//! ```
//! [`decide`] is the whole decision, without a proxy. The worker table is in memory; no request waits for a core.
//! Deliberately not here: anything about what is in a session (that is the binder's).

pub mod cache;
pub mod config;
pub mod decide;
pub mod destinations;
#[cfg(test)]
mod fixture;
pub mod router;
pub mod stream;
pub mod token;

use std::rc::Rc;

use limpet_filters_common::config::ConfigError;
use limpet_filters_common::root::Plugin;
use proxy_wasm::traits::HttpContext;

use crate::config::Config;
use crate::router::Router;
use crate::stream::Stream;

/// The plugin's root id.
pub const ROOT_ID: &str = "sticky_router";

/// Where the host enters the module. A module that links this one enters here too, and registers its own plugins
/// before, in its initialisers.
mod entry {
    proxy_wasm::main! {{
        limpet_filters_common::root::register(crate::ROOT_ID, crate::build);
        proxy_wasm::set_root_context(limpet_filters_common::root::new);
    }}
}

/// Makes the plugin.
fn build(configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
    Ok(Box::new(RouterPlugin(Rc::new(Router::new(Config::read(
        configuration,
    )?)))))
}

struct RouterPlugin(Rc<Router>);

impl Plugin for RouterPlugin {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Stream::new(Rc::clone(&self.0)))
    }
}
