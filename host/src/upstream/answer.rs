//! A worker's answer whose head has arrived and whose body has not.
//!
//! The head is a value that callers may change. The body and the connection under it are opaque: a caller reads frames,
//! collects them, or turns a 101 answer into a tunnel. Which protocol and which library are below is left to
//! `connection`.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Source;
use super::idle::Idle;
use crate::client::request_body::BodyError;
use crate::message::head::ResponseHead;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields as the worker sent them, hop-by-hop fields included.
    pub head: ResponseHead,
    source: Source,
    home: Rc<Idle>,
}

/// An answer that is all here.
#[derive(Debug)]
pub struct Collected {
    /// Status and fields.
    pub head: ResponseHead,
    /// The whole body.
    pub body: Bytes,
    /// The fields after the body; mostly none.
    pub trailers: HeaderMap,
}

/// The body of an answer. At its end the connection returns to its pool. Dropped before, the connection is closed,
/// which is how the worker learns that its answer is no longer wanted.
#[derive(Debug)]
pub struct AnswerBody {
    /// `None` only while it is being dropped.
    source: Option<Source>,
    home: Rc<Idle>,
    first: Option<Frame<Bytes>>,
    /// The end was seen; a body of known length also knows without.
    ended: bool,
}

impl Answer {
    pub(super) const fn new(head: ResponseHead, source: Source, home: Rc<Idle>) -> Self {
        Self { head, source, home }
    }

    /// Takes head and body apart.
    #[must_use]
    pub fn split(self) -> (ResponseHead, AnswerBody) {
        let body = AnswerBody {
            source: Some(self.source),
            home: self.home,
            first: None,
            ended: false,
        };
        (self.head, body)
    }

    /// Waits for the whole body, at most `max` bytes of it.
    ///
    /// # Errors
    /// When the body breaks off or is longer.
    pub async fn collect(self, max: usize) -> Result<Collected, BodyError> {
        let (head, body) = self.split();
        let collected = http_body_util::Limited::new(body, max).collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Ok(Collected {
            head,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// The raw connection after a 101 answer; `None` when the worker did not switch protocols.
    pub async fn tunnel(self) -> Option<impl AsyncRead + AsyncWrite + Unpin> {
        self.source.tunnel().await
    }
}

impl AnswerBody {
    /// Takes what has already arrived, so that head and body leave in one write. Waits for nothing.
    pub fn prefetch(&mut self, cx: &mut Context<'_>) {
        if !self.at_end()
            && let Poll::Ready(Some(Ok(frame))) = self.poll(cx)
        {
            self.first = Some(frame);
        }
    }

    fn at_end(&self) -> bool {
        self.ended || self.source.as_ref().is_none_or(Source::is_end_stream)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(None);
        };
        let frame = source.poll_frame(cx);
        self.ended |= matches!(frame, Poll::Ready(None));
        frame
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        this.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.source.as_ref().map(Source::size_hint).unwrap_or_default();
        if let Some(data) = self.first.as_ref().and_then(Frame::data_ref) {
            let len = data.len() as u64;
            match hint.exact() {
                Some(rest) => hint.set_exact(rest + len),
                None => hint = SizeHint::default(),
            }
        }
        hint
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let ended = self.at_end();
        if let Some(source) = self.source.take()
            && ended
        {
            self.home.put(source.into_connection());
        }
    }
}
