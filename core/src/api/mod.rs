//! How programs reach the daemon. Each protocol is a folder of its own and an encoding of [`crate::service`]: it parses
//! requests, calls the service, and writes replies.

pub mod http;
