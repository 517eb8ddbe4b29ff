//! The answer of a level: where a request belongs, as far as that level knows.

use crate::destinations::Destinations;

/// The answer of a level.
#[derive(Debug)]
pub struct Affinity<'a> {
    /// The route the request is bound to, if any.
    pub bound: Option<&'a str>,
    /// The workers that should serve it, most preferred first.
    pub destinations: Destinations<'a>,
}
