//! The lifecycle of a session: which lives of its id are over, why, and under which ids they went on.
//!
//! A *life* is one incarnation of a session id, named by the stamp of its creation, or of the rename that brought it here.
//! A deletion ends a life for good. An idle expiry is only a claim, and a later touch refutes it. A rename takes a life to
//! another id.
//! What these facts mean for the rest of a session is decided by [`super::Record`], what they mean for other ids by
//! [`super::identity`].

use std::ops::Deref;
use std::sync::Arc;

use super::{Fates, Register, Renamed, Stamp};

/// One use of a session. Greater is later; a touch of a later life is later than any of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    /// The life that was touched.
    pub life: Stamp,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Where a renamed session came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The id it had last, in the same app.
    pub id: Arc<str>,
    /// The ids it has had and what its life was called under each, in order. Under one id it had several lives where
    /// sessions were created at the same time and became one.
    pub names: Vec<Name>,
    /// The stamp of its creation, which is what callers know it by under every id.
    pub first: Stamp,
}

/// An id that a session has had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The id.
    pub id: Arc<str>,
    /// What its life was called there.
    pub life: Stamp,
    /// Where it went from there; absent where that is the id it has now.
    pub left: Option<Renamed>,
}

/// See the module page. Every part is a maximum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The tombstone: every life up to this stamp is over. [`Stamp::ZERO`] when none was deleted.
    pub deleted: Stamp,
    /// The lives that were renamed, and those that were deleted one by one.
    pub fates: Fates,
    /// An idle expiry, as the last touch that its author knew of. A later touch refutes it.
    pub expired: Option<Touch>,
    /// The id the session had before. Life and stamp of the register are the stamp of the rename.
    pub renamed_from: Option<Box<Register<Origin>>>,
}

impl Lifecycle {
    const NONE: Self = Self {
        deleted: Stamp::ZERO,
        fates: Fates::NONE,
        expired: None,
        renamed_from: None,
    };

    /// Whether `life` has left this id: deleted, or renamed.
    #[must_use]
    pub fn is_over(&self, life: Stamp) -> bool {
        life <= self.deleted || !self.fates.is_empty() && self.fates.get(life).is_some()
    }

    /// When a life last left this id; [`Stamp::ZERO`] when none did.
    #[must_use]
    pub fn last_end(&self) -> Stamp {
        self.deleted.max(self.fates.latest())
    }

    /// Whether it says of the end of a life what `known` does not.
    #[must_use]
    pub fn adds_to(&self, known: &Self) -> bool {
        let is_new = |life| known.fates.get(life) < self.fates.get(life);
        self.deleted > known.deleted || self.fates.iter().any(|(life, _)| is_new(life))
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::NONE
    }
}

/// A [`Lifecycle`] that takes memory only where there is something in it, which most sessions have nothing in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifecycleBox(Option<Box<Lifecycle>>);

impl LifecycleBox {
    /// Whether nothing is in it: no tombstone, no expiry, no rename.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Changes it.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Lifecycle) -> T) -> T {
        let mut lifecycle = self.0.take().unwrap_or_default();
        let result = change(&mut lifecycle);
        self.0 = (*lifecycle != Lifecycle::NONE).then_some(lifecycle);
        result
    }
}

impl From<Lifecycle> for LifecycleBox {
    fn from(lifecycle: Lifecycle) -> Self {
        Self((lifecycle != Lifecycle::NONE).then(|| Box::new(lifecycle)))
    }
}

impl Deref for LifecycleBox {
    type Target = Lifecycle;

    fn deref(&self) -> &Lifecycle {
        static NONE: Lifecycle = Lifecycle::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}
