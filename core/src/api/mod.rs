//! How programs on the same node reach the daemon. Each spelling of the same operations is a folder of its own.

pub mod http;
