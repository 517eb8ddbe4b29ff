//! The way to workers: who they are, how they are reached, and how one request becomes one [`answer::Answer`].
//!
//! Every thread has its own workers, pools and connections; nothing here is shared. The types of the HTTP library
//! stay in this room: what leaves it is an `Answer` with a head of ours and an opaque body, so that another protocol
//! is one more variant in `connection` and `answer`. Filters, and the decision whether a request may be tried again,
//! are left to `pipeline`.

pub mod answer; // a response whose head is here and whose body is still to come
pub mod cluster; // the workers of one [[cluster]]
pub mod connection; // a connection that takes one request at a time, whatever protocol it speaks
pub mod endpoint; // addresses
mod http1; // HTTP/1.1, driven by whoever waits for it
pub mod pool; // kept-alive connections to one endpoint
pub mod request; // the body of a request to a worker
pub mod settings; // what the configuration says about clusters
pub mod table; // the core's worker table, as it changes
