//! The facts of one client connection: its addresses, its scheme, and when it was last in use. Its timeouts are left to
//! `server::tracker`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use http::HeaderValue;

use super::waits::Waits;

/// How a connection's bytes travel. It is a fact of the socket; no header of a request changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The value of `:scheme` and `X-Forwarded-Proto`.
    #[must_use]
    pub const fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A client connection.
#[derive(Debug)]
pub struct Connection {
    /// Numbers the connections of the process, from 1.
    pub id: u64,
    /// The address of the client.
    pub source: SocketAddr,
    /// The address it connected to.
    pub destination: SocketAddr,
    /// Plain text or TLS.
    pub scheme: Scheme,
    /// The IP address of `source`, as `X-Forwarded-For` names it.
    pub source_ip: HeaderValue,
    /// `source` as text.
    pub source_text: Rc<str>,
    /// `destination` as text.
    pub destination_text: Rc<str>,
    /// Exchanges of it that are not finished.
    pub open: Cell<u32>,
    /// When an exchange of it finished last, in milliseconds of the thread's clock.
    pub last: Cell<u64>,
    waits: Rc<Waits>,
}

impl Connection {
    /// A new connection on the thread whose clock is in `waits`.
    #[must_use]
    pub fn new(
        id: u64,
        source: SocketAddr,
        destination: SocketAddr,
        scheme: Scheme,
        waits: Rc<Waits>,
    ) -> Rc<Self> {
        // An IPv4 client of an IPv6 socket is still an IPv4 client.
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let source_ip = HeaderValue::from_str(&source.ip().to_string());
        Rc::new(Self {
            id,
            source,
            destination,
            scheme,
            source_ip: source_ip.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            source_text: source.to_string().into(),
            destination_text: destination.to_string().into(),
            open: Cell::new(0),
            last: Cell::new(waits.now()),
            waits,
        })
    }

    /// The thread's clock, in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.waits.now()
    }

    /// An exchange of it begins.
    pub fn begin_exchange(&self) {
        self.open.set(self.open.get().saturating_add(1));
    }

    /// An exchange of it is finished.
    pub fn end_exchange(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.last.set(self.now());
    }
}
