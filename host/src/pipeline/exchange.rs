//! One exchange (a request and its answer) as its filters take part in it.
//!
//! Each filter gets a context on the way in; it is closed when the exchange is dropped, with the last byte of the
//! answer. A filter may let the message go on, pause it, answer itself, or close the connection. Bodies are left to
//! `body`, the choice of a worker to `forward`.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::worker_thread::{Filter, WorkerThread};
use crate::client::waits::Wait;
use crate::message::reply::LocalReply;
use crate::rescue::Failure;
use crate::wasm::abi::numbers::{Direction, continues};
use crate::wasm::plugin::{FILTERS_MAX, OnFailure};
use crate::wasm::state::contexts::StreamContext;
use crate::wasm::stream::{PauseEnd, Stream};
use crate::wasm::vm::OpenContext;

/// How long a filter may pause a request or an answer; past it the request fails with 504.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    /// The thread that serves it.
    pub thread: Rc<WorkerThread>,
    /// What the filters see.
    pub stream: Rc<Stream>,
    /// How long it has been waiting for a filter, a worker or a body.
    pub wait: Wait,
    /// Why a body broke off in the filters, for the task that waits for the worker's answer to it.
    pub broken: Cell<Option<Failure>>,
    contexts: [Cell<Option<OpenContext>>; FILTERS_MAX],
}

/// Why a request does not go on.
#[derive(Debug)]
pub enum Ended {
    /// A filter answered.
    Replied(Box<LocalReply>),
    /// It failed.
    Failed(Failure),
    /// A filter wants the connection closed.
    Closed,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Exchange {
    /// A new exchange; no filter knows of it yet.
    #[must_use]
    pub fn new(thread: Rc<WorkerThread>, stream: Rc<Stream>) -> Rc<Self> {
        stream.state().info.connection.begin_exchange();
        Rc::new(Self {
            wait: thread.waits.open(),
            thread,
            stream,
            broken: Cell::new(None),
            contexts: [const { Cell::new(None) }; FILTERS_MAX],
        })
    }

    /// Hands the request headers to every filter, in order.
    ///
    /// # Errors
    /// When one of them ends the request.
    pub async fn request_headers(&self, end_of_stream: bool) -> Result<(), Ended> {
        for (position, filter) in self.thread.filters.iter().enumerate() {
            if !filter.vm.ready() {
                self.not_running(filter)?;
                continue;
            }
            match filter
                .vm
                .request_headers(self.stream_context(position, filter), end_of_stream)
            {
                Ok((context, action)) => {
                    if let Some(place) = self.contexts.get(position) {
                        place.set(Some(context));
                    }
                    self.apply(Direction::Request, position, filter, action).await?;
                }
                Err(_) => self.not_running(filter)?,
            }
        }
        Ok(())
    }

    /// Hands the response headers to every filter that saw the request, in reverse.
    ///
    /// # Errors
    /// When one of them ends the request.
    pub async fn response_headers(&self, end_of_stream: bool) -> Result<(), Ended> {
        for (position, filter) in self.thread.filters.iter().enumerate().rev() {
            let Some(context) = self.context(position) else {
                continue;
            };
            match filter
                .vm
                .response_headers(context, self.stream_context(position, filter), end_of_stream)
            {
                Ok(action) => self.apply(Direction::Response, position, filter, action).await?,
                Err(_) => self.not_running(filter)?,
            }
        }
        Ok(())
    }

    /// What a filter's `action` means: go on, or wait until it resumes the stream.
    async fn apply(
        &self,
        direction: Direction,
        position: usize,
        filter: &Filter,
        action: u32,
    ) -> Result<(), Ended> {
        let place = u8::try_from(position).unwrap_or(u8::MAX);
        {
            let mut state = self.stream.state();
            if state.closed() {
                return Err(Ended::Closed);
            }
            if let Some(reply) = state.reply.take() {
                return Err(Ended::Replied(Box::new(reply)));
            }
            if continues(action) || state.take_resumed(direction, place) {
                return Ok(());
            }
        }
        self.wait.begin(PAUSE_MAX);
        let resumed = poll_fn(|cx| {
            if self.wait.is_over(cx.waker()) {
                return Poll::Ready(None);
            }
            self.stream.poll_resumed(direction, place, cx.waker()).map(Some)
        })
        .await;
        self.wait.end();
        match resumed {
            Some(PauseEnd::Resumed) => Ok(()),
            Some(PauseEnd::Replied) => match self.stream.state().reply.take() {
                Some(reply) => Err(Ended::Replied(Box::new(reply))),
                None => Ok(()),
            },
            Some(PauseEnd::Failed) => self.not_running(filter).map_err(Into::into),
            Some(PauseEnd::Closed) => Err(Ended::Closed),
            None => Err(Failure::HeldTooLong.into()),
        }
    }

    /// A filter that is not running refuses the request or is passed over, as configured.
    pub(super) fn not_running(&self, filter: &Filter) -> Result<(), Failure> {
        self.thread.counters.filter_failures.add(1);
        match filter.plugin.on_failure {
            OnFailure::Closed => Err(Failure::Filter),
            OnFailure::Open => Ok(()),
        }
    }

    /// The context of the filter at `position`, if it was opened.
    pub(super) fn context(&self, position: usize) -> Option<OpenContext> {
        self.contexts.get(position).and_then(Cell::get)
    }

    /// The filter at `position`, its context, and what calls into it act on.
    pub(super) fn filter(&self, position: usize) -> Option<(&Filter, OpenContext, StreamContext)> {
        let filter = self.thread.filters.get(position)?;
        Some((
            filter,
            self.context(position)?,
            self.stream_context(position, filter),
        ))
    }

    fn stream_context(&self, position: usize, filter: &Filter) -> StreamContext {
        let position = u8::try_from(position).unwrap_or(u8::MAX);
        StreamContext {
            root: filter.root,
            position,
            stream: Rc::clone(&self.stream),
        }
    }

    /// The positions of the filters that look at bodies, in order.
    #[must_use]
    pub fn body_filters(&self) -> Vec<usize> {
        let filters = self.thread.filters.iter().enumerate();
        filters
            .filter(|(at, filter)| filter.plugin.body && self.context(*at).is_some())
            .map(|(at, _)| at)
            .collect()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = Rc::clone(&self.stream.state().info.connection);
        connection.end_exchange();
        for (position, filter) in self.thread.filters.iter().enumerate() {
            if let Some(context) = self.context(position) {
                // A machine that stopped meanwhile has forgotten the context already.
                let _ = filter.vm.close(context, self.stream_context(position, filter));
            }
        }
    }
}
