//! Is the house in order? Rules of the repository that no compiler checks.

mod apt;
mod documents;
mod parity;
mod sources;
