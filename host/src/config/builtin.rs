//! The two filters that are built into the proxy.
//!
//! Both are in one module, so that both run in one virtual machine; the `root_id` chooses between them.

/// Their names in the key `module`.
pub const NAMES: [&str; 2] = ["sticky_router", "session_binder"];

/// The `vm_id` of both.
pub const VM_ID: &str = "limpet";

static MODULE: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The module, if it was there when the proxy was built.
#[must_use]
pub const fn module() -> Option<&'static [u8]> {
    MODULE
}
