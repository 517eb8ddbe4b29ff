//! InboundLink: loopback TCP and unix sockets, HTTP/1.1 with keep-alive, a bounded number of connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::reply::ApiError;
use super::route::{self, Context};
use crate::base::limits::API_CONNECTIONS_MAX;
use crate::drivers::node::Node;
use crate::replication::acks::Level;
use crate::session::AttributeFilter;

/// How long a client may take to send a request's head, idle keep-alive time included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Where the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address. Anything but loopback wants the token.
    Tcp(SocketAddr),
    /// A unix socket, readable and writable by owner and group.
    Unix(PathBuf),
}

/// What the API needs of the configuration, and follows when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many copies a change waits for when the caller does not say.
    pub ack: Level,
    /// The longest such wait.
    pub ack_timeout: Duration,
    /// Which attributes are kept.
    pub replicate: AttributeFilter,
    /// Wanted on every address that is not loopback.
    pub token: Option<String>,
}

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen.api: cannot listen on {endpoint}: {source}")]
pub struct ListenError {
    endpoint: String,
    source: std::io::Error,
}

enum Listener {
    Tcp(TcpListener, bool),
    Unix(UnixListener),
}

/// The API, bound to its endpoints but not serving yet.
pub struct Api {
    listeners: Vec<Listener>,
}

/// Removes the sockets' files when dropped.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<PathBuf>,
    /// The TCP addresses, with the ports that were chosen.
    pub addrs: Vec<SocketAddr>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        for path in &self.sockets {
            let _ = std::fs::remove_file(path); // already gone: nothing to remove
        }
    }
}

impl Api {
    /// Binds every endpoint.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub async fn bind(endpoints: &[Endpoint]) -> Result<(Self, Bound), ListenError> {
        let (mut listeners, mut bound) = (
            Vec::new(),
            Bound {
                sockets: Vec::new(),
                addrs: Vec::new(),
            },
        );
        for endpoint in endpoints {
            match endpoint {
                Endpoint::Tcp(addr) => {
                    let fail = |source| ListenError {
                        endpoint: addr.to_string(),
                        source,
                    };
                    let listener = TcpListener::bind(addr).await.map_err(fail)?;
                    bound.addrs.push(listener.local_addr().map_err(fail)?);
                    listeners.push(Listener::Tcp(listener, !addr.ip().is_loopback()));
                }
                Endpoint::Unix(path) => {
                    let fail = |source| ListenError {
                        endpoint: path.display().to_string(),
                        source,
                    };
                    // A socket a killed daemon left behind is in nobody's use; anything else is not ours to remove.
                    let stale =
                        std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
                    if stale && std::os::unix::net::UnixStream::connect(path).is_err() {
                        std::fs::remove_file(path).map_err(fail)?;
                    }
                    let listener = UnixListener::bind(path).map_err(fail)?;
                    let mode = std::fs::Permissions::from_mode(0o660);
                    std::fs::set_permissions(path, mode).map_err(fail)?;
                    bound.sockets.push(path.clone());
                    listeners.push(Listener::Unix(listener));
                }
            }
        }
        Ok((Self { listeners }, bound))
    }

    /// Serves until the runtime ends; every request under the settings of its time.
    pub fn serve(self, node: &Arc<Node>, settings: &watch::Receiver<Arc<Settings>>) {
        for listener in self.listeners {
            let (node, settings) = (node.clone(), settings.clone());
            tokio::spawn(async move {
                let limit = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
                while let Ok(permit) = limit.clone().acquire_owned().await {
                    accept(&listener, &node, &settings, permit).await;
                }
            });
        }
    }
}

async fn accept(
    listener: &Listener,
    node: &Arc<Node>,
    settings: &watch::Receiver<Arc<Settings>>,
    permit: OwnedSemaphorePermit,
) {
    let (node, settings) = (node.clone(), settings.clone());
    let failed = match listener {
        Listener::Tcp(listener, guarded) => match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // the connection is gone if this fails
                tokio::spawn(serve(stream, node, settings, *guarded, permit));
                return;
            }
            Err(error) => error,
        },
        Listener::Unix(listener) => match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, node, settings, false, permit));
                return;
            }
            Err(error) => error,
        },
    };
    tracing::error!(error = %failed, "accepting an API connection");
    tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors: others must be closed first
}

async fn serve<S>(
    stream: S,
    node: Arc<Node>,
    settings: watch::Receiver<Arc<Settings>>,
    guarded: bool,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let context = Context {
            node: node.clone(),
            settings: settings.borrow().clone(),
        };
        async move {
            if guarded && !is_authorised(&context, &request) {
                return Ok::<_, Infallible>(ApiError::Unauthorized.reply());
            }
            Ok(route::answer(&context, request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an API connection ended");
    }
    drop(permit);
}

/// Compares in a time that does not depend on where the first difference is.
fn is_authorised(context: &Context, request: &Request<Incoming>) -> bool {
    let Some(token) = &context.settings.token else {
        return false;
    };
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    given.is_some_and(|given| {
        given.len() == token.len()
            && given
                .iter()
                .zip(token.bytes())
                .fold(0, |sum, (a, b)| sum | (a ^ b))
                == 0
    })
}
