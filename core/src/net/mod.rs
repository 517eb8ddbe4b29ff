//! Connections between nodes: mutual TLS 1.3, the identity in a certificate, the hello, and frames of bytes.
//!
//! What the frames mean belongs to [`crate::replication`]; making and keeping connections to [`crate::drivers`].

pub mod compress;
pub mod frame;
pub mod hello;
pub mod hint_signature;
pub mod identity;
pub mod tls;
