//! A body that passes through filters, chunk by chunk.
//!
//! Each chunk passes every filter in order. A filter that pauses keeps what it has and sees all of it again with the
//! next chunk, up to [`HELD_MAX`]; it goes on by returning "continue" later or by resuming the stream. Filters never
//! see more than one chunk ahead of the reader. Running a filter is left to `wasm`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

use super::exchange::Exchange;
use crate::client::request_body::BodyError;
use crate::message::hop;
use crate::rescue::Failure;
use crate::wasm::abi::numbers::{Direction, continues};
use crate::wasm::stream::{PauseEnd, State};

/// The most of one body that a filter may hold back, in bytes; past it a request is answered 413 and an answer
/// becomes 502, or breaks off where its head has left already.
pub const HELD_MAX: usize = 1 << 20;

/// A body on its way through the filters that look at bodies.
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

/// One filter's part.
struct Stage {
    position: usize,
    held: BytesMut,
    paused: bool,
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
            paused: false,
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
            let Some((filter, open, context)) = self.exchange.filter(stage.position) else {
                continue;
            };
            if stage.held.is_empty() {
                stage.held = chunk;
            } else {
                stage.held.extend_from_slice(&chunk);
            }
            let size = stage.held.len();
            self.exchange.stream.state().body = Some((self.direction, std::mem::take(&mut stage.held)));
            let action = filter.vm.body(open, context, self.direction, size, end);
            let left = self
                .exchange
                .stream
                .state()
                .body
                .take()
                .map_or_else(BytesMut::new, |(_, bytes)| bytes);
            match action {
                Ok(action) if continues(action) => stage.paused = false,
                Ok(_) => {
                    if left.len() > HELD_MAX {
                        return Err(match self.direction {
                            Direction::Request => Failure::RequestTooLarge,
                            Direction::Response => Failure::ResponseTooLarge,
                        });
                    }
                    stage.held = left;
                    stage.paused = true;
                    return Ok(());
                }
                Err(_) => {
                    self.exchange.not_running(filter)?;
                    stage.paused = false;
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

    /// Trailers pass last; filters change them but cannot pause them.
    fn end_trailers(&mut self) {
        let Some(trailers) = self.trailers.take() else {
            return;
        };
        let count = trailers.len();
        let direction = self.direction;
        let swap = move |state: &mut State, value: Option<HeaderMap>| {
            let place = match direction {
                Direction::Request => &mut state.request_trailers,
                Direction::Response => &mut state.response_trailers,
            };
            std::mem::replace(place, value)
        };
        swap(&mut self.exchange.stream.state(), Some(trailers));
        for stage in &self.stages {
            if let Some((filter, open, context)) = self.exchange.filter(stage.position) {
                // A filter that stopped has seen the body; the trailers go on without it.
                let _ = filter.vm.trailers(open, context, direction, count);
            }
        }
        self.trailers = swap(&mut self.exchange.stream.state(), None);
    }

    /// Passes on what filters held that have resumed the stream since. Returns whether any did.
    fn release(&mut self, cx: &Context<'_>) -> Result<bool, Failure> {
        for at in 0..self.stages.len() {
            let Some(stage) = self.stages.get_mut(at) else {
                break;
            };
            if !stage.paused {
                continue;
            }
            let place = u8::try_from(stage.position).unwrap_or(u8::MAX);
            match self
                .exchange
                .stream
                .poll_resumed(self.direction, place, cx.waker())
            {
                Poll::Pending => continue,
                Poll::Ready(PauseEnd::Resumed) => {}
                Poll::Ready(PauseEnd::Failed) => {
                    if let Some(filter) = self.exchange.thread.filters.get(stage.position) {
                        self.exchange.not_running(filter)?;
                    }
                }
                Poll::Ready(PauseEnd::Replied | PauseEnd::Closed) => return Err(Failure::BadMessage),
            }
            stage.paused = false;
            let held = std::mem::take(&mut stage.held).freeze();
            let end = self.source_ended && !self.stages.iter().take(at).any(|earlier| earlier.paused);
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
        self.exchange.wait.progress();
        if let Some(size) = self
            .exchange
            .stream
            .state()
            .info
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
