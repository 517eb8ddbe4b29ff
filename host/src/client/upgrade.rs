//! A client's connection that may leave HTTP (RFC 9110, section 7.8): a promise of its raw bytes after a 101 answer.
//! Copying them is left to `pipeline::tunnel`.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The client's half of a tunnel, once its connection has switched protocols.
#[derive(Debug)]
pub struct Upgrade(OnUpgrade);

impl Upgrade {
    /// Takes the promise out of a request. A request whose connection cannot switch yields one that never opens.
    pub fn take<B>(request: &mut http::Request<B>) -> Self {
        Self(hyper::upgrade::on(request))
    }

    /// Waits until the 101 answer has been written, then gives the raw connection.
    ///
    /// # Errors
    /// When the client went away first, or another answer than 101 was sent.
    pub async fn open(self) -> Result<impl AsyncRead + AsyncWrite + Unpin, hyper::Error> {
        self.0.await.map(TokioIo::new)
    }
}
