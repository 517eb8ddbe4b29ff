//! One HTTP/1.1 connection to a worker, driven by whoever uses it.
//!
//! hyper splits a client connection into a handle and a future to be spawned. Here nothing is spawned: the task
//! that waits for the answer polls the connection itself, so an answer costs no wake-up of another task. An idle
//! connection is polled by nobody; that its peer went away is noticed when it is taken from the pool.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::body::Outgoing;
use super::endpoint::Socket;

/// The largest head of an answer, in bytes, and the most of a body that is read ahead.
const BUFFER_MAX: usize = 128 << 10;

type Driver = Pin<Box<dyn Future<Output = Result<(), hyper::Error>>>>;

/// A connection.
pub struct Connection {
    sender: SendRequest<Outgoing>,
    driver: Option<Driver>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("open", &self.driver.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub struct SendError {
    /// The request, when not a byte of it was sent.
    pub unsent: Option<Request<Outgoing>>,
    /// What went wrong.
    pub error: hyper::Error,
}

impl Connection {
    /// Speaks HTTP/1.1 over `socket`.
    ///
    /// # Errors
    /// Whatever hyper says.
    pub async fn new(socket: Socket) -> Result<Self, hyper::Error> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(socket))
            .await?;
        let mut connection = Self {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
        };
        connection.drive(&mut Context::from_waker(Waker::noop()));
        Ok(connection)
    }

    /// Moves bytes. A connection that ended is dropped, which answers whoever waits on it.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether a request can be sent now. Notices a peer that went away.
    pub fn usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Sends `request` and waits for the head of the answer. The body comes over this connection, which must be
    /// driven for it.
    ///
    /// # Errors
    /// See [`SendError`]; the connection is of no use then.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, SendError> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut idle = Context::from_waker(Waker::noop());
        poll_fn(|cx| {
            if let Some(driver) = &mut self.driver
                && driver.as_mut().poll(cx).is_ready()
            {
                self.driver = None;
            }
            // Only the connection above brings the answer, so it needs no waker of its own.
            match answer.as_mut().poll(&mut idle) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response)),
                Poll::Ready(Err(mut refused)) => {
                    let unsent = refused.take_message();
                    Poll::Ready(Err(SendError {
                        unsent,
                        error: refused.into_error(),
                    }))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Drives the connection to its end; for tunnels, which take it over.
    pub async fn finish(mut self) {
        if let Some(driver) = self.driver.take() {
            // How it ends is the tunnel's business.
            let _ = driver.await;
        }
    }
}
