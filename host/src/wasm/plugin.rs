//! What the configuration says about one filter: its module, its own configuration and its limits.

use std::time::Duration;

use bytes::Bytes;

/// The most filters of a chain: the bits in which a stream keeps who resumed it, and the places an exchange has for
/// contexts. A configuration with more is refused.
pub const FILTERS_MAX: usize = 16;

/// What happens to a request whose filter cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It is answered 503.
    #[default]
    Closed,
    /// It passes as if the filter were not there.
    Open,
}

/// One filter of the chain.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Its name in logs and in `plugin_name`.
    pub name: String,
    /// The module's code.
    pub module: Bytes,
    /// Which filter of the module; `plugin_root_id`.
    pub root_id: String,
    /// Filters with one `vm_id` and one module share a virtual machine; `plugin_vm_id`. Scopes shared data.
    pub vm_id: String,
    /// Handed to the guest in `proxy_on_configure`.
    pub config: Bytes,
    /// See [`OnFailure`].
    pub on_failure: OnFailure,
    /// Whether it is called for bodies.
    pub body: bool,
    /// The most memory of its virtual machine, in bytes.
    pub memory: usize,
    /// The longest one call into it may last.
    pub deadline: Duration,
}
