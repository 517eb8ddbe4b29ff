//! The proxy as a whole: built as the product builds it, in this process, between raw clients and small
//! workers. Filters are written by hand in the text format, so that each does exactly one unusual thing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect has failed"
)]

mod client;
mod core;
mod filters;
mod guest;
mod host;
mod http;
mod retries;
mod worker;
