//! Endpoints: the address or unix socket where a worker or the core listens, and connecting to it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `unix:/path` or `http://ip:port`.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("unix: needs a path".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let authority = Self::authority(url)?;
        authority
            .parse()
            .map(Self::Tcp)
            .map_err(|_| format!("{authority:?} is no ip:port"))
    }

    /// The `host:port` of an `http` URL without a path.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn authority(url: &str) -> Result<String, String> {
        let uri: http::Uri = url
            .parse()
            .map_err(|_| format!("{url:?} is no URL such as http://10.0.0.1:8080"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("{url:?} is not served; only http://host:port is"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(format!("{url:?} has a path, and requests keep their own"));
        }
        let host = uri.host().ok_or_else(|| format!("{url:?} names no host"))?;
        Ok(format!("{host}:{}", uri.port_u16().unwrap_or(80)))
    }

    /// Connects.
    ///
    /// # Errors
    /// Whatever the system says.
    pub async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A request without a body is one piece, for which the plain call is the cheaper one.
        if let [one] = bytes {
            return self.poll_write(cx, one);
        }
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_address() {
        assert_eq!(
            Endpoint::parse("unix:/run/x.sock"),
            Ok(Endpoint::Unix("/run/x.sock".into()))
        );
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:80/"),
            Ok(Endpoint::Tcp("127.0.0.1:80".parse().unwrap()))
        );
        assert_eq!(Endpoint::authority("http://[::1]:81"), Ok("[::1]:81".into()));
        assert_eq!(Endpoint::authority("http://worker"), Ok("worker:80".into()));
        for bad in [
            "unix:",
            "https://x:1",
            "ajp://x:1",
            "127.0.0.1:1",
            "http://x:1/path",
            "http://name:1",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
