//! Drivers: the tasks and sockets around the engine.
//!
//! [`node`] puts the engine behind a lock and carries out its outputs. [`links`] keeps the connections to other nodes,
//! [`link_age`] says how long each lasts, [`discovery`] finds other nodes by multicast, [`health`] checks this node's own
//! workers, [`traffic`] counts what passes between nodes. [`supervisor`] ends the process after faults it must not
//! survive, and [`quarantine`] remembers the changes that caused them.
//! Deciding anything belongs to [`crate::engine`].

pub mod discovery;
pub mod health;
pub mod link_age;
pub mod links;
pub mod node;
pub mod quarantine;
pub mod supervisor;
pub mod traffic;
