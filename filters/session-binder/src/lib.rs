//! The session binder: keeps a session's cookie, its worker and its core of one mind.
//!
//! ```text
//! request  ──► limpet-session-id, limpet-primary, limpet-original-session-id ──► worker
//! response ◄── cookie with the new route after a takeover ◄── limpet-session-* ── worker
//!                                     └──► core: binding, touches (never held); deltas (held where `ack` says so)
//! ```
//! [`decide`] is what a response means, [`reporter`] what the core is still to be told; both without a proxy. This
//! module also contains the router, so that both filters can live in one VM, or be one filter ([`both`]): the
//! plugin's `root_id` chooses.

mod binder;
mod both;
pub mod config;
pub mod decide;
pub mod reporter;
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

/// The root id of router and binder as one filter.
pub const BOTH_ROOT_ID: &str = "limpet";

/// The router's module defines where the host enters; this runs before that, with the other initialisers, so that
/// this file's own plugin is the binder.
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
    limpet_filters_common::root::register(BOTH_ROOT_ID, both::build);
}

/// Makes the plugin.
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
        self.0.reply(token, status, now);
    }
}
