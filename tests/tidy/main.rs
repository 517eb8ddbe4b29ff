//! Is the house in order? Rules of the repository that no compiler checks.

mod apt;
mod arrows;
mod documents;
mod house;
mod lengths;
mod metrics;
mod parity;
mod paths;
mod promises;
mod purity;
mod sources;
mod words;
