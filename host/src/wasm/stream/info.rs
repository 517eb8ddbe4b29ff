//! What is known about an exchange and no filter changes: the source of `proxy_get_property`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use http::Version;

use crate::client::connection::Connection;

/// What is known about an exchange.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// When the request head was complete.
    pub started: SystemTime,
    /// The request's protocol.
    pub version: Version,
    /// The cluster that serves it, once chosen.
    pub cluster: Option<Arc<str>>,
    /// The route that chose it.
    pub route: Option<Arc<str>>,
    /// `ip:port` of the worker of the last attempt.
    pub upstream: Option<Rc<str>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// Status of the answer, once there is one.
    pub status: Option<u16>,
    /// Where the answer came from.
    pub details: Option<Rc<str>>,
    /// Body bytes so far, request and response.
    pub sizes: [u64; 2],
}

impl StreamInfo {
    /// What is known when the request head is complete.
    #[must_use]
    pub const fn new(connection: Rc<Connection>, started: SystemTime, version: Version) -> Self {
        Self {
            connection,
            started,
            version,
            cluster: None,
            route: None,
            upstream: None,
            attempts: 0,
            status: None,
            details: None,
            sizes: [0; 2],
        }
    }
}
