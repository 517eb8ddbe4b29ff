//! Uses, ends and moves: what decides whether a session still goes on, and under which id.

use std::ops::Deref;
use std::sync::Arc;

use super::{Register, Stamp};

/// A use of a session. Greater is later; a use in a later life is later than any in an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Touch {
    /// The life in which it was used.
    pub life: Stamp,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Where a session went that was given another id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// The end of every life under the old id.
    pub over: Stamp,
    /// The new id, in the same app.
    pub to: Arc<str>,
}

/// How lives of a session ended, and which id it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endings {
    /// Every life up to this stamp is over; [`Stamp::ZERO`] when none ever ended.
    pub deleted: Stamp,
    /// The id that took its place; only while it was this that ended it.
    pub moved: Option<Moved>,
    /// The use after which it was found idle for too long.
    pub ended: Option<Touch>,
    /// The id it had before, in the same app. Its stamp is the end of the old id.
    pub origin: Option<Register<Arc<str>>>,
}

impl Endings {
    const NONE: Self = Self {
        deleted: Stamp::ZERO,
        moved: None,
        ended: None,
        origin: None,
    };
}

impl Default for Endings {
    fn default() -> Self {
        Self::NONE
    }
}

/// [`Endings`], of which most sessions have none: they take memory only where there are some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past(Option<Box<Endings>>);

impl Past {
    /// Whether nothing ever ended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Changes it.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Endings) -> T) -> T {
        let mut endings = self.0.take().unwrap_or_default();
        let result = change(&mut endings);
        self.0 = (*endings != Endings::NONE).then_some(endings);
        result
    }
}

impl From<Endings> for Past {
    fn from(endings: Endings) -> Self {
        Self((endings != Endings::NONE).then(|| Box::new(endings)))
    }
}

impl Deref for Past {
    type Target = Endings;

    fn deref(&self) -> &Endings {
        static NONE: Endings = Endings::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}
