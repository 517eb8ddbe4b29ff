//! The API's listeners: loopback TCP and unix sockets, HTTP/1.1 with keep-alive, a bounded number of connections.

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

use super::error::ApiError;
use super::reply::refusal;
use super::route;
use crate::base::limits::API_CONNECTIONS_MAX;
use crate::service::Service;

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

/// Who may call, as the configuration says. Followed when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
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

    /// Serves, every request under the settings of its time: one task for each endpoint, none of which ends.
    pub fn serve(
        self,
        service: &Arc<Service>,
        access: &watch::Receiver<Arc<Access>>,
    ) -> impl Iterator<Item = impl Future<Output = ()> + Send + use<>> {
        self.listeners.into_iter().map(|listener| {
            let (service, access) = (service.clone(), access.clone());
            async move {
                let limit = Arc::new(Semaphore::new(API_CONNECTIONS_MAX));
                while let Ok(permit) = limit.clone().acquire_owned().await {
                    accept(&listener, &service, &access, permit).await;
                }
            }
        })
    }
}

async fn accept(
    listener: &Listener,
    service: &Arc<Service>,
    access: &watch::Receiver<Arc<Access>>,
    permit: OwnedSemaphorePermit,
) {
    let service = service.clone();
    let failed = match listener {
        Listener::Tcp(listener, guarded) => match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // the connection is gone if this fails
                let access = guarded.then(|| access.clone());
                tokio::spawn(serve(stream, service, access, permit));
                return;
            }
            Err(error) => error,
        },
        Listener::Unix(listener) => match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, service, None, permit));
                return;
            }
            Err(error) => error,
        },
    };
    tracing::error!(error = %failed, "accepting an API connection");
    tokio::time::sleep(Duration::from_millis(100)).await; // out of descriptors: others must be closed first
}

/// Serves one connection; where there is an `access`, to callers that show its token only.
async fn serve<S>(
    stream: S,
    service: Arc<Service>,
    access: Option<watch::Receiver<Arc<Access>>>,
    permit: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = service_fn(|request: Request<Incoming>| {
        let service = service.clone();
        let allowed = access
            .as_ref()
            .is_none_or(|access| is_authorised(&access.borrow(), &request));
        async move {
            if !allowed {
                return Ok::<_, Infallible>(refusal(&ApiError::Unauthorized));
            }
            Ok(route::answer(&service, request).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an API connection ended");
    }
    drop(permit);
}

/// Compares in a time that does not depend on where the first difference is.
fn is_authorised(access: &Access, request: &Request<Incoming>) -> bool {
    let Some(token) = &access.token else {
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
