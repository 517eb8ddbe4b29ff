//! The lifecycle of a session: which of its lives are over, why, and under which id it went on.
//!
//! A *life* is one incarnation of a session id, named by the stamp of its creation. A deletion or a rename ends a life
//! for good. An idle expiry is only a claim, and a later touch refutes it.
//! What these facts mean for the rest of a session is decided by [`super::Record`].

use std::ops::Deref;
use std::sync::Arc;

use super::{Register, Stamp};

/// One use of a session. Greater is later; a touch of a later life is later than any of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    /// The life that was touched.
    pub life: Stamp,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The tombstone of an id whose session was given another id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renamed {
    /// The stamp of the rename. It deletes every life under the old id.
    pub at: Stamp,
    /// The new id, in the same app.
    pub to: Arc<str>,
}

/// See the module page. Every part is a maximum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The tombstone: every life up to this stamp is over. [`Stamp::ZERO`] when none was deleted.
    pub deleted: Stamp,
    /// The id that took this one's place; present only while its stamp is the one in `deleted`.
    pub renamed_to: Option<Renamed>,
    /// An idle expiry, as the last touch that its author knew of. A later touch refutes it.
    pub expired: Option<Touch>,
    /// The id the session had before, in the same app. The register's stamp is the tombstone of the old id.
    pub renamed_from: Option<Register<Arc<str>>>,
}

impl Lifecycle {
    const NONE: Self = Self {
        deleted: Stamp::ZERO,
        renamed_to: None,
        expired: None,
        renamed_from: None,
    };
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
