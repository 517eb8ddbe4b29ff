//! Rules for HTTP messages, RFC by RFC: values in, values out.
//!
//! This room is pure. Sockets, tasks, clocks and filters are left to the rooms above it.

pub mod destination; // the list in x-limpet-destination
pub mod forwarded; // X-Forwarded-For and X-Forwarded-Proto
pub mod framing; // what a request must look like before anything reads it
pub mod head; // request and response heads as filters see them
pub mod hop; // hop-by-hop fields, RFC 9110 section 7.6.1
pub mod map; // one view of every header map a filter may name
pub mod reply; // an answer made here instead of by a worker
