//! Header and message surgery, RFC by RFC: values in, values out.
//!
//! Deliberately absent: sockets, tasks, clocks and everything a guest does. Whatever is here can be tested in
//! microseconds.

pub mod destination; // the list in x-limpet-destination
pub mod forwarded; // X-Forwarded-For and X-Forwarded-Proto
pub mod framing; // what a request must look like before anything reads it
pub mod head; // request and response heads as filters see them
pub mod hop; // hop-by-hop fields, RFC 9110 section 7.6.1
pub mod map; // one face for every header map a guest may name
