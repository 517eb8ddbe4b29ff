//! State transfer: the whole table for a node that has none, from the side of the joiner and of the donor.
//!
//! Which ranges are wanted from whom is kept by [`crate::replication::transfer`].

mod donor;
pub(in crate::engine) mod inquiry;
pub(in crate::engine) mod joining;
mod member_lists;
pub(in crate::engine) mod without_table;
