//! The sticky router: a proxy-wasm filter that names the workers a request may go to, before the proxy chooses one.
//!
//! ```text
//! request  ──► capture ──► levels: token, route, balance ──► x-limpet-destination
//! response ◄── token cookie, where its claims change ◄── upstream worker
//! ```
//! [`decide`] and the [`levels`] are the decision, without a proxy; [`stream`] makes the host calls around it. The
//! worker table is in memory, so no request waits for a core. What a session contains, and changes of it, are left to
//! the session binder.

pub mod config;
pub mod decide;
pub mod destinations;
#[cfg(test)]
mod fixture;
pub mod levels;
pub mod renewal;
pub mod request;
pub mod router;
pub mod stream;
pub mod token;
pub mod token_cache;

use std::rc::Rc;

use limpet_filters_common::config::ConfigError;
use limpet_filters_common::root::Plugin;
use proxy_wasm::traits::HttpContext;

use crate::config::Config;
use crate::router::Router;
use crate::stream::Stream;

/// The plugin's root id.
pub const ROOT_ID: &str = "sticky_router";

/// The entry point of the wasm module. A module that links this crate has the same entry point, and registers its own
/// plugins before it, in its initialisers.
mod entry {
    proxy_wasm::main! {{
        limpet_filters_common::root::register(crate::ROOT_ID, crate::build);
        proxy_wasm::set_root_context(limpet_filters_common::root::new);
    }}
}

/// Creates the plugin from its configuration.
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
