//! The client as the rest of the proxy knows it: facts of the connection, the request body, the switch to another
//! protocol, and the waits of its exchanges.
//!
//! `server` fills these values in; `pipeline`, `upstream` and `wasm` read them. Reading from the socket and parsing are
//! left to `server`.

pub mod connection; // facts of one connection
pub mod request_body; // the body of a request, whatever protocol carries it
pub mod upgrade; // a connection that leaves HTTP
pub mod waits; // the waits of a thread's exchanges, and its clock
