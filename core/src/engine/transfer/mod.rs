//! State transfer: the whole table for a node that has none, from the side of the joiner and of the donor.
//!
//! Which ranges are wanted from whom is kept by [`crate::replication::transfer`].

mod donor;
pub(in crate::engine) mod joining;
