//! An answer made here, by a filter or by the proxy itself, instead of by a worker.

use std::rc::Rc;

use bytes::Bytes;

use super::head::ResponseHead;

/// An answer with its whole body at hand.
#[derive(Debug, Clone)]
pub struct LocalReply {
    /// Status and fields.
    pub head: ResponseHead,
    /// The body.
    pub body: Bytes,
    /// What filters read as `response.code_details`.
    pub details: Rc<str>,
}
