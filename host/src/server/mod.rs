//! The clients' side: sockets in, requests to the pipeline.

pub mod accept; // connections as they come
pub mod connection; // one of them
pub mod listen; // sockets, one per thread and address
pub mod watch; // who waits too long, and who shall end
