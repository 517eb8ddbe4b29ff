//! The library of both filters: what they read of messages, the worker table, and host calls that cannot trap.
//!
//! ```text
//! hostcalls   the proxy's functions                 pairs, cookies, fields, id   syntax of what they return
//! capture     one request, fetched in one pass      session     which session a message belongs to
//! root        the root context of every plugin      decision    what the router hands the binder
//! watch       who fetches the worker table, when    tables      the worker table of this VM
//! ```
//! A panic ends the VM and every request in it, so nothing here panics, whatever bytes arrive. Deliberately absent:
//! the decisions of the filters; those are pure and live in `sticky-router` and `session-binder`.

pub mod capture;
pub mod clock;
pub mod config;
pub mod cookies;
pub mod core_clock;
pub mod decision;
pub mod fields;
pub mod hostcalls;
pub mod id;
pub mod metrics;
pub mod pairs;
pub mod random;
pub mod root;
pub mod session;
pub mod tables;
pub mod upstream;
pub mod watch;
