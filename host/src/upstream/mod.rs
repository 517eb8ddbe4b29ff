//! Workers: who they are, how they are reached, and how one request is sent to one of them.
//!
//! Every thread has its own workers, pools and connections; nothing here is shared. Deliberately absent: filters,
//! and the decision whether a request may be tried again.

pub mod body; // what is sent to a worker, what comes back
pub mod cluster; // the workers of one [[cluster]]
pub mod connection; // one HTTP/1.1 connection, driven by whoever uses it
pub mod endpoint; // addresses
pub mod pool; // kept-alive connections to one endpoint
pub mod table; // the core's worker table, as it changes
