//! A body that filters look at, chunk by chunk.
//!
//! Each chunk passes every filter in order. One that answers anything but "continue" keeps what it has and is shown
//! all of it again with the next chunk, up to [`HELD_MAX`]; it lets go by answering "continue" later or by resuming
//! the stream. Filters never see more than one chunk ahead of the reader.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame};

use super::exchange::Exchange;
use crate::message::hop;
use crate::rescue::Failure;
use crate::upstream::body::BodyError;
use crate::wasm::abi::numbers::{Direction, goes_on};
use crate::wasm::stream::Release;

/// The most of one body that a filter may hold back, in bytes; past it a request is answered 413 and an answer
/// becomes 502, or breaks off where its head has left already.
pub const HELD_MAX: usize = 1 << 20;

/// A body on its way through filters.
pub struct Filtered<B> {
    source: Pin<Box<B>>,
    exchange: Rc<Exchange>,
    direction: Direction,
    stages: Vec<Stage>,
    ready: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    source_ended: bool,
    finished: bool,
}

/// A filter's place.
struct Stage {
    position: usize,
    held: BytesMut,
    holding: bool,
}

impl<B: Body<Data = Bytes>> Filtered<B>
where
    B::Error: Into<BodyError>,
{
    /// `source` through the filters at `positions`, in that order.
    pub fn new(source: B, exchange: Rc<Exchange>, direction: Direction, positions: Vec<usize>) -> Self {
        let stage = |position| Stage {
            position,
            held: BytesMut::new(),
            holding: false,
        };
        Self {
            source: Box::pin(source),
            exchange,
            direction,
            stages: positions.into_iter().map(stage).collect(),
            ready: VecDeque::new(),
            trailers: None,
            source_ended: false,
            finished: false,
        }
    }

    /// Passes `chunk` through the stages from `from` on.
    fn pass(&mut self, from: usize, chunk: Bytes, end: bool) -> Result<(), Failure> {
        let mut chunk = BytesMut::from(chunk);
        for stage in self.stages.iter_mut().skip(from) {
            let Some((filter, opened, context)) = self.exchange.filter(stage.position) else {
                continue;
            };
            if stage.held.is_empty() {
                stage.held = chunk;
            } else {
                stage.held.extend_from_slice(&chunk);
            }
            let size = stage.held.len();
            self.exchange.stream.state().body = Some((self.direction, std::mem::take(&mut stage.held)));
            let action = filter.vm.body(opened, context, self.direction, size, end);
            let left = self
                .exchange
                .stream
                .state()
                .body
                .take()
                .map_or_else(BytesMut::new, |(_, bytes)| bytes);
            match action {
                Ok(action) if goes_on(action) => stage.holding = false,
                Ok(_) => {
                    if left.len() > HELD_MAX {
                        return Err(match self.direction {
                            Direction::Request => Failure::RequestTooLarge,
                            Direction::Response => Failure::ResponseTooLarge,
                        });
                    }
                    stage.held = left;
                    stage.holding = true;
                    return Ok(());
                }
                Err(_) => {
                    self.exchange.not_running(filter)?;
                    stage.holding = false;
                }
            }
            chunk = left;
        }
        if !chunk.is_empty() {
            self.ready.push_back(chunk.freeze());
        }
        if end {
            self.end_trailers();
            self.finished = true;
        }
        Ok(())
    }

    /// Trailers are shown last; filters change them but do not hold them.
    fn end_trailers(&mut self) {
        let Some(trailers) = self.trailers.take() else {
            return;
        };
        let count = trailers.len();
        let direction = self.direction;
        let slot = move |state: &mut crate::wasm::stream::State, value: Option<HeaderMap>| {
            let slot = match direction {
                Direction::Request => &mut state.request_trailers,
                Direction::Response => &mut state.response_trailers,
            };
            std::mem::replace(slot, value)
        };
        slot(&mut self.exchange.stream.state(), Some(trailers));
        for stage in &self.stages {
            if let Some((filter, opened, context)) = self.exchange.filter(stage.position) {
                // A filter that is gone has had its say with the body.
                let _ = filter.vm.trailers(opened, context, direction, count);
            }
        }
        self.trailers = slot(&mut self.exchange.stream.state(), None);
    }

    /// Lets filters that held and resumed go on. Whether any did.
    fn release(&mut self, cx: &Context<'_>) -> Result<bool, Failure> {
        for at in 0..self.stages.len() {
            let Some(stage) = self.stages.get_mut(at) else {
                break;
            };
            if !stage.holding {
                continue;
            }
            let place = u8::try_from(stage.position).unwrap_or(u8::MAX);
            match self.exchange.stream.poll_held(self.direction, place, cx.waker()) {
                Poll::Pending => continue,
                Poll::Ready(Release::Resumed) => {}
                Poll::Ready(Release::Failed) => {
                    if let Some(filter) = self.exchange.lane.filters.get(stage.position) {
                        self.exchange.not_running(filter)?;
                    }
                }
                Poll::Ready(Release::Replied | Release::Closed) => return Err(Failure::BadMessage),
            }
            stage.holding = false;
            let held = std::mem::take(&mut stage.held).freeze();
            let end = self.source_ended && !self.stages.iter().take(at).any(|earlier| earlier.holding);
            self.pass(at + 1, held, end)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(Frame::data(chunk))));
            }
            if self.finished {
                return Poll::Ready(Ok(self.trailers.take().map(Frame::trailers)));
            }
            if self.release(cx)? {
                continue;
            }
            if self.source_ended {
                return Poll::Pending;
            }
            match self.source.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.source_ended = true;
                    self.pass(0, Bytes::new(), true)?;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        self.count(chunk.len());
                        let end = self.source.is_end_stream();
                        self.source_ended = end;
                        self.pass(0, chunk, end)?;
                    }
                    Err(frame) => {
                        if let Ok(mut trailers) = frame.into_trailers() {
                            hop::strip_trailers(&mut trailers);
                            self.trailers = Some(trailers);
                        }
                        self.source_ended = true;
                        self.pass(0, Bytes::new(), true)?;
                    }
                },
            }
        }
    }

    fn count(&self, len: usize) {
        self.exchange.stream.state().facts.connection.progress();
        if let Some(size) = self
            .exchange
            .stream
            .state()
            .facts
            .sizes
            .get_mut(self.direction as usize)
        {
            *size += len as u64;
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Filtered<B>
where
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.step(cx).map(|step| {
            step.transpose().map(|result| {
                result.inspect_err(|error| {
                    if let Some(failure) = error.downcast_ref::<Failure>() {
                        self.exchange.broken.set(Some(*failure));
                    }
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.finished && self.ready.is_empty() && self.trailers.is_none()
    }
}
