//! What both filters share: reading cookies, session ids and structured fields; the worker table; and host calls
//! that cannot trap.
//!
//! ```text
//! root      one RootContext for every plugin of a module, chosen by its root id
//! watch     the worker table, fetched by one VM of a process and read by all
//! hostcalls the proxy, called without the parts of the SDK that panic
//! ```
//! Deliberately absent: any decision of a filter. Those are pure and live in `sticky-router` and `session-binder`.
//! A panic in a filter ends its VM and every request in it, so nothing here panics, whatever bytes arrive.

pub mod clock;
pub mod config;
pub mod cookies;
pub mod decision;
pub mod fields;
pub mod hostcalls;
pub mod id;
pub mod inbound;
pub mod metrics;
pub mod pairs;
pub mod random;
pub mod root;
pub mod tables;
pub mod upstream;
pub mod watch;
