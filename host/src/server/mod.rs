//! The clients' side of the proxy: listening sockets, connections, HTTP parsing (hyper), and their timeouts.
//!
//! A connection becomes requests for `pipeline`. A panic while one is served ends that connection and nothing else.
//! Filters, routes and workers are left to `pipeline`.

pub mod accept; // new connections
pub mod connection; // serving one of them
pub mod listen; // listening sockets, one per thread and address
pub mod socket; // a client's socket that tells when bytes came
pub mod tracker; // all connections of a thread: timeouts and orders to end
