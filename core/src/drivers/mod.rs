//! Where the pure parts meet the world. [`engine`] joins membership, replication and store into one value that
//! still touches nothing; [`node`] puts it behind a lock and carries out what it asks for; [`links`] are the
//! connections to other nodes, [`lease`] how long each lasts, [`discovery`] how others are found, [`health`] the checks of this node's own workers.

pub mod discovery;
pub mod health;
pub mod link_age;
pub mod links;
pub mod node;
pub mod traffic;
