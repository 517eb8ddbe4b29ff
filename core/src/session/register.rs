//! A last-writer-wins register inside one life of a session.
//!
//! A register of a later life always wins, whatever the stamps are. What ends a life is in [`super::lifecycle`].

use super::{Lifecycle, Stamp};

/// A value, the stamp of its write, and the life of the session it belongs to.
///
/// A session id may be used again after its session was deleted. The *life* is the stamp of the creation that the
/// writer knew of, so a write of an earlier life never shows up in a later one, however late it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register<T> {
    /// The life it belongs to: the stamp of the creation.
    pub life: Stamp,
    /// The stamp of the write.
    pub stamp: Stamp,
    /// The value.
    pub value: T,
}

impl<T> Register<T> {
    /// Whether `self` replaces `other`.
    pub fn beats(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// What registers are compared by: the life, then the write.
    const fn rank(&self) -> (Stamp, Stamp) {
        (self.life, self.stamp)
    }
}

/// Joins `theirs` into `mine`, unless it belongs to a life that is over. Returns whether `mine` changed.
pub(super) fn join_into<T: Clone>(
    mine: &mut Option<Register<T>>,
    theirs: Option<&Register<T>>,
    lifecycle: &Lifecycle,
) -> bool {
    let Some(theirs) = theirs else { return false };
    let wins = !lifecycle.is_over(theirs.life) && mine.as_ref().is_none_or(|mine| theirs.beats(mine));
    if wins {
        *mine = Some(theirs.clone());
    }
    wins
}
