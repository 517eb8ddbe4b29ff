//! The root context of every plugin: one type for all, because the SDK creates root contexts before their `root_id`
//! can be read.
//!
//! A module registers its plugins; when a root context is configured, its `root_id` chooses one. No `root_id` means
//! the plugin registered first. The plugin `table` is in every module: it serves no requests and keeps the worker
//! table up to date for all VMs of the process. What a filter does with requests is its [`Plugin`]'s part.

use std::cell::RefCell;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::config::ConfigError;
use crate::hostcalls::{self, Buffer, Level, Map};
use crate::{clock, metrics, tables};

/// The root id of the worker table service.
pub const TABLE: &str = "table";

/// The tick period of every root context, in milliseconds: how late a new worker table may be noticed.
pub const TICK_MS: u32 = 10;

/// A configured filter.
pub trait Plugin {
    /// Creates the context of one request.
    fn stream(&self) -> Box<dyn HttpContext>;

    /// A tick at `now`, in milliseconds since 1970.
    fn tick(&mut self, _now: u64) {}

    /// The reply to a call of this root context. `status` is `None` where the call failed.
    fn reply(&mut self, _token: u32, _status: Option<u16>, _now: u64) {}
}

/// Creates a plugin from its configuration.
pub type Build = fn(&[u8]) -> Result<Box<dyn Plugin>, ConfigError>;

thread_local! {
    static PLUGINS: RefCell<Vec<(&'static str, Build)>> = const { RefCell::new(Vec::new()) };
}

/// Adds a plugin to this module. The first one is chosen where there is no `root_id`.
pub fn register(root_id: &'static str, build: Build) {
    PLUGINS.with_borrow_mut(|plugins| plugins.push((root_id, build)));
}

/// Creates a root context that is not yet configured, for the SDK.
#[must_use]
pub fn new(_context_id: u32) -> Box<dyn RootContext> {
    Box::new(Root { plugin: None })
}

struct Root {
    plugin: Option<Box<dyn Plugin>>,
}

impl Root {
    fn configure(root_id: &str, configuration: &[u8]) -> Result<Box<dyn Plugin>, ConfigError> {
        if root_id == TABLE {
            tables::serve();
            return Ok(Box::new(TableService));
        }
        let build = PLUGINS.with_borrow(|plugins| {
            let mut found = plugins
                .iter()
                .filter(|(name, _)| root_id.is_empty() || *name == root_id);
            found.next().map(|(_, build)| *build)
        });
        build.ok_or_else(|| ConfigError::Root(root_id.to_owned()))?(configuration)
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let root_id = hostcalls::property(b"plugin_root_id").unwrap_or_default();
        let configuration = hostcalls::buffer(Buffer::PluginConfiguration).unwrap_or_default();
        tables::define_counters();
        tables::load_shared(clock::refresh());
        match Self::configure(&String::from_utf8_lossy(&root_id), &configuration) {
            Ok(plugin) => self.plugin = Some(plugin),
            Err(error) => {
                hostcalls::log(Level::Error, &error.to_string());
                return false;
            }
        }
        if !hostcalls::set_tick_period(TICK_MS) {
            hostcalls::log(
                Level::Error,
                "the proxy refuses ticks, so the filter never gets a worker table",
            );
        }
        true
    }

    fn on_tick(&mut self) {
        let now = clock::refresh();
        tables::tick(now);
        if let Some(plugin) = &mut self.plugin {
            plugin.tick(now);
        }
        metrics::flush();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        // Never `None`, on which the SDK panics.
        Some(
            self.plugin
                .as_ref()
                .map_or_else(|| Box::new(Passive) as Box<dyn HttpContext>, |it| it.stream()),
        )
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, _: usize, _: usize) {
        let now = clock::now_ms();
        let status = call_status(num_headers);
        let of_plugin = !tables::on_reply(token, status, now);
        if let (true, Some(plugin)) = (of_plugin, &mut self.plugin) {
            plugin.reply(token, status, now);
        }
    }
}

/// The status of the reply that is being delivered; `None` where the call failed. Envoy delivers its own timeouts and
/// connection failures as 504 and 503.
#[must_use]
pub fn call_status(num_headers: usize) -> Option<u16> {
    if num_headers == 0 {
        return None;
    }
    let status = hostcalls::header(Map::CallResponseHeaders, b":status")?;
    std::str::from_utf8(&status).ok()?.parse().ok()
}

/// The worker table service: a plugin that serves no requests.
struct TableService;

impl Plugin for TableService {
    fn stream(&self) -> Box<dyn HttpContext> {
        Box::new(Passive)
    }
}

/// The context of a request that passes unchanged.
struct Passive;

impl Context for Passive {}
impl HttpContext for Passive {}
