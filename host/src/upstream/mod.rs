//! The upstream side: the workers, the connections to them, and one request that becomes one [`answer::Answer`].
//!
//! Every thread has its own workers, pools and connections. The types of the HTTP library stay in this room: what
//! leaves it is an `Answer` with a head of ours and an opaque body. Another protocol is one more variant in
//! `connection`. Filters, and the decision whether a request is tried again, are left to `pipeline`.

pub mod answer; // a response whose head is here and whose body is still to come
pub mod cluster; // the workers of one [[cluster]]
pub mod connection; // a connection that takes one request at a time, whatever protocol it speaks
pub mod endpoint; // addresses
pub mod error; // why a request got no answer
mod http1; // HTTP/1.1, polled by the task that waits
pub mod idle; // kept-alive connections
pub mod pool; // connections to one endpoint, kept or opened
pub mod request; // the body of a request to a worker
pub mod settings; // what the configuration says about clusters
pub mod table; // the core's worker table, as it changes
