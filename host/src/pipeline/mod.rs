//! The path of one request from a client to a worker and back, through the filters.
//!
//! ```text
//! serve ─► framing ─► filters in order ─► route ─► worker (attempts) ─► filters reversed ─► client
//!                        │ pause, answer, close         │
//!                        └──────── rescue ◄─────────────┘  every error becomes an answer, which filters see too
//! ```
//! All state hangs on the thread's [`worker_thread::WorkerThread`]; nothing is shared between threads. Sockets and
//! parsing are left to `server` and `upstream`, running filters to `wasm`, the choice of a worker to `balance`.

pub mod answer; // the body of an answer on its way to the client
pub mod body; // bodies that filters see
pub mod callout; // requests and timers of the filters themselves
pub mod exchange; // the filters' part of one request
pub mod forward; // attempts, until a worker answers
pub mod local; // answers made here
pub mod serve; // the order of it all
pub mod tunnel; // connections that change their protocol
pub mod worker_thread; // everything of one thread
