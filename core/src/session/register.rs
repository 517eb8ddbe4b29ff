//! One last-writer-wins value inside one life of a session.

use super::Stamp;

/// A value, when it was written, and in which life of the session.
///
/// A session id may be used again after its session was deleted; the *life* is the stamp of the creation the
/// writer knew. A write of an earlier life can therefore never show up in a later one, however late it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register<T> {
    /// The creation this value belongs to.
    pub life: Stamp,
    /// When it was written.
    pub stamp: Stamp,
    /// The value.
    pub value: T,
}

impl<T> Register<T> {
    /// Whether `self` replaces `other`.
    pub fn beats(&self, other: &Self) -> bool {
        self.rank() > other.rank()
    }

    /// What decides between two values: the later life, then the later write.
    const fn rank(&self) -> (Stamp, Stamp) {
        (self.life, self.stamp)
    }
}

/// Joins `theirs` into `mine`, unless it belongs to a life that ended at `deleted`. Says whether `mine` changed.
pub(super) fn join_into<T: Clone>(
    mine: &mut Option<Register<T>>,
    theirs: Option<&Register<T>>,
    deleted: Stamp,
) -> bool {
    let Some(theirs) = theirs else { return false };
    let wins = theirs.life > deleted && mine.as_ref().is_none_or(|mine| theirs.beats(mine));
    if wins {
        *mine = Some(theirs.clone());
    }
    wins
}
