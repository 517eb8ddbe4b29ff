//! The filters' part of one request: their contexts, opened on the way in and closed when all is over.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use super::lane::Lane;
use super::{FILTERS_MAX, Filter};
use crate::rescue::Failure;
use crate::wasm::abi::numbers::{Direction, goes_on};
use crate::wasm::context::StreamContext;
use crate::wasm::instance::Opened;
use crate::wasm::plugin::OnFailure;
use crate::wasm::stream::{LocalReply, Release, Stream};

/// How long a filter may hold a request or an answer; past it the request fails with 504.
pub const HOLD_MAX: Duration = Duration::from_secs(60);

/// One request, as its filters take part in it.
#[derive(Debug)]
pub struct Exchange {
    /// The thread's.
    pub lane: Rc<Lane>,
    /// What the filters see.
    pub stream: Rc<Stream>,
    /// Why a body broke off, for whoever waits for what should have come of it.
    pub broken: Cell<Option<Failure>>,
    opened: [Cell<Option<Opened>>; FILTERS_MAX],
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
    /// A new one; no filter knows of it yet.
    #[must_use]
    pub fn new(lane: Rc<Lane>, stream: Rc<Stream>) -> Rc<Self> {
        let connection = Rc::clone(&stream.state().facts.connection);
        connection.open.set(connection.open.get() + 1);
        Rc::new(Self {
            lane,
            stream,
            broken: Cell::new(None),
            opened: [const { Cell::new(None) }; FILTERS_MAX],
        })
    }

    /// Hands the request headers to every filter, in order.
    ///
    /// # Errors
    /// When one of them ends the request.
    pub async fn request_headers(&self, end_of_stream: bool) -> Result<(), Ended> {
        for (position, filter) in self.lane.filters.iter().enumerate() {
            if !filter.vm.ready() {
                self.not_running(filter)?;
                continue;
            }
            match filter
                .vm
                .request_headers(self.context(position, filter), end_of_stream)
            {
                Ok((opened, action)) => {
                    if let Some(slot) = self.opened.get(position) {
                        slot.set(Some(opened));
                    }
                    self.settle(Direction::Request, position, filter, action).await?;
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
        for (position, filter) in self.lane.filters.iter().enumerate().rev() {
            let Some(opened) = self.opened(position) else {
                continue;
            };
            match filter
                .vm
                .response_headers(opened, self.context(position, filter), end_of_stream)
            {
                Ok(action) => self.settle(Direction::Response, position, filter, action).await?,
                Err(_) => self.not_running(filter)?,
            }
        }
        Ok(())
    }

    /// What `action` means: go on, or wait until the filter lets go.
    async fn settle(
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
            if goes_on(action) {
                return Ok(());
            }
            if state.take_resumed(direction, place) {
                return Ok(());
            }
        }
        let held = poll_fn(|cx| self.stream.poll_held(direction, place, cx.waker()));
        match Box::pin(tokio::time::timeout(HOLD_MAX, held)).await {
            Ok(Release::Resumed) => Ok(()),
            Ok(Release::Replied) => match self.stream.state().reply.take() {
                Some(reply) => Err(Ended::Replied(Box::new(reply))),
                None => Ok(()),
            },
            Ok(Release::Failed) => self.not_running(filter).map_err(Into::into),
            Ok(Release::Closed) => Err(Ended::Closed),
            Err(_) => Err(Failure::HeldTooLong.into()),
        }
    }

    /// A filter that is not running refuses the request or is passed over, as configured.
    pub(super) fn not_running(&self, filter: &Filter) -> Result<(), Failure> {
        self.lane.counters.filter_failures.add(1);
        match filter.plugin.on_failure {
            OnFailure::Closed => Err(Failure::Filter),
            OnFailure::Open => Ok(()),
        }
    }

    /// The context of the filter at `position`, if it was opened.
    pub(super) fn opened(&self, position: usize) -> Option<Opened> {
        self.opened.get(position).and_then(Cell::get)
    }

    /// The filter at `position`, its context, and what calls into it act on.
    pub(super) fn filter(&self, position: usize) -> Option<(&Filter, Opened, StreamContext)> {
        let filter = self.lane.filters.get(position)?;
        Some((filter, self.opened(position)?, self.context(position, filter)))
    }

    fn context(&self, position: usize, filter: &Filter) -> StreamContext {
        let position = u8::try_from(position).unwrap_or(u8::MAX);
        StreamContext {
            root: filter.root,
            position,
            stream: Rc::clone(&self.stream),
        }
    }

    /// The filters that look at bodies, in order.
    #[must_use]
    pub fn body_filters(&self) -> Vec<usize> {
        let filters = self.lane.filters.iter().enumerate();
        filters
            .filter(|(at, filter)| filter.plugin.body && self.opened(*at).is_some())
            .map(|(at, _)| at)
            .collect()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let connection = Rc::clone(&self.stream.state().facts.connection);
        connection.finished();
        for (position, filter) in self.lane.filters.iter().enumerate() {
            if let Some(opened) = self.opened(position) {
                // A dead machine has forgotten the context already.
                let _ = filter.vm.close(opened, self.context(position, filter));
            }
        }
    }
}
