//! The binary interface: numbers, layouts and guest memory, each written down once.

pub mod memory;
pub mod numbers;
pub mod pairs;
