//! Connections between nodes: mutual TLS 1.3, who the other side is, and frames. Knows no session and no member:
//! what it carries are bytes.

pub mod compress;
pub mod frame;
pub mod hello;
pub mod hint_signature;
pub mod identity;
pub mod tls;
