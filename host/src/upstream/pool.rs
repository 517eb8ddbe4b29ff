//! A pool of connections to one endpoint, of one thread: kept ones are used again, further ones are opened.
//!
//! Choosing the endpoint and trying again are left to the caller.

use std::rc::Rc;
use std::time::Duration;

use http::Request;

use super::answer::Answer;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::error::{ConnectError, SendError};
use super::idle::Idle;
use super::request::Outgoing;

/// How often [`Pool::sweep`] is to be called.
pub const SWEEP: Duration = Duration::from_secs(5);

/// The connections to one endpoint.
#[derive(Debug)]
pub struct Pool {
    endpoint: Endpoint,
    connect_timeout: Duration,
    idle: Rc<Idle>,
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self {
            endpoint,
            connect_timeout,
            idle: Rc::default(),
        }
    }

    /// Where its connections go.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A kept connection that still works, if there is one.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        self.idle.take()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// See [`ConnectError`]; also when it takes longer than the connect timeout.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let connected = match tokio::time::timeout(self.connect_timeout, self.endpoint.connect()).await {
            Ok(Ok(socket)) => Connection::http1(socket).await,
            Ok(Err(error)) => Err(ConnectError(error.to_string())),
            Err(elapsed) => Err(ConnectError(elapsed.to_string())),
        };
        connected.inspect_err(|error| {
            tracing::debug!(endpoint = %self.endpoint, error = error.0, "connect failed");
        })
    }

    /// Sends `request` over `connection` and waits for the head of the answer. The connection returns to this pool
    /// at the end of the answer's body; it is closed when the answer is dropped earlier.
    ///
    /// # Errors
    /// See [`SendError`]; the connection is closed then.
    pub async fn send(
        &self,
        connection: Connection,
        request: Request<Outgoing>,
    ) -> Result<Answer, SendError> {
        let (head, source) = connection.send(request).await?;
        Ok(Answer::new(head, source, Rc::clone(&self.idle)))
    }

    /// Closes all kept connections: one of them proved stale, and they are of one age.
    pub fn clear(&self) {
        self.idle.clear();
    }

    /// Closes kept connections that were not used for a while, and those whose peer is gone.
    pub fn sweep(&self) {
        self.idle.sweep();
    }
}
