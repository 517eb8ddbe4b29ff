//! The session binder: a proxy-wasm filter that binds sessions to the workers that serve them, and reports deltas.
//!
//! ```text
//! request  ──► limpet-session-id, limpet-primary, limpet-original-session-id ──► worker
//! response ◄── cookie with the new route after a takeover ◄── limpet-session-* ── worker
//!                                     └──► core: bindings, touches (in the background); deltas (response waits on `ack`)
//! ```
//! [`decide`] is what a response means, [`report_queue`] holds what the core has not acknowledged; both without a
//! proxy. The module also links the router, so that one VM can run both filters, or both as one ([`combined`]); the
//! plugin's `root_id` chooses. Which worker serves a request is left to the router, storing sessions to the core.

mod binder;
mod combined;
pub mod config;
pub mod decide;
pub mod report_queue;
mod stream;
pub mod touches;

use std::rc::Rc;

use limpet_filters_common::config::ConfigError;
use limpet_filters_common::root::Plugin;
use proxy_wasm::traits::HttpContext;

use crate::binder::Binder;
use crate::config::Config;
use crate::stream::Stream;

/// The root id of the binder.
pub const ROOT_ID: &str = "session_binder";

/// The root id of the combined filter.
pub const COMBINED_ROOT_ID: &str = "limpet";

/// The router's crate defines the entry point of the module; this runs before it, with the other initialisers, so
/// that the plugin registered first is the binder.
#[cfg(target_arch = "wasm32")]
#[used]
// SAFETY: the section holds pointers to functions without arguments, which the runtime's initialiser calls once.
#[unsafe(link_section = ".init_array")]
static REGISTER: extern "C" fn() = register;

#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only a module has initialisers")
)]
extern "C" fn register() {
    limpet_filters_common::root::register(ROOT_ID, build);
    limpet_filters_common::root::register(COMBINED_ROOT_ID, combined::build);
}

/// Creates the plugin from its configuration.
fn build(configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
    Ok(Box::new(BinderPlugin(Rc::new(Binder::new(Config::read(
        configuration,
    )?)))))
}

struct BinderPlugin(Rc<Binder>);

impl Plugin for BinderPlugin {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Stream::new(Rc::clone(&self.0)))
    }

    fn tick(&mut self, now: u64) {
        self.0.tick(now);
    }

    fn reply(&mut self, token: u32, status: Option<u16>, now: u64) {
        self.0.on_reply(token, status, now);
    }
}
