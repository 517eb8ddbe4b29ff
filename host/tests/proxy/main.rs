//! Does the proxy keep its word? Built as the product builds it, in this process, between raw clients and small
//! workers. Filters are written by hand in the text format, so that each does exactly one odd thing.

mod client;
mod filters;
mod guest;
mod host;
mod http;
mod retries;
mod worker;
