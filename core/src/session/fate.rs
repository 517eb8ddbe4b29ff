//! Fates: what became of lives of an id other than that their time was up. A life was renamed, and goes on under another
//! id, or it was deleted.
//!
//! A deletion is stronger than any rename of the same life, and of two renames the later one holds. So the fate of a life
//! is a maximum, and fates merge like everything else in a record. What a fate means for the changes of a life that
//! arrive afterwards is in [`super::identity`].

use std::sync::Arc;

use super::Stamp;

/// How many fates one id remembers; of more, those that were decided last. A change that arrives later still, of a life
/// whose fate is not remembered any more, is a part of a session whose beginning is missing, and is not shown.
pub const FATES_MAX: usize = 256;

/// What became of a life. Greater wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on under another id.
    Renamed(Renamed),
    /// It was deleted at this moment, under every id it has.
    Ended(Stamp),
}

/// Where a renamed session went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renamed {
    /// The stamp of the rename, which is what its life is called under the new id.
    pub at: Stamp,
    /// The new id, in the same app.
    pub to: Arc<str>,
    /// The id that the rename took it from: the one it is given back should the new one turn out to be in use.
    pub from: Arc<str>,
    /// The stamp of its creation, which is what callers know it by under every id.
    pub first: Stamp,
}

impl Fate {
    /// When it was decided.
    #[must_use]
    pub const fn at(&self) -> Stamp {
        match self {
            Self::Renamed(renamed) => renamed.at,
            Self::Ended(at) => *at,
        }
    }

    /// Where the session went, if it goes on.
    #[must_use]
    pub const fn renamed(&self) -> Option<&Renamed> {
        match self {
            Self::Renamed(renamed) => Some(renamed),
            Self::Ended(_) => None,
        }
    }
}

/// The fates of the lives of one id, in the order of the lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fates(Vec<(Stamp, Fate)>);

impl Fates {
    /// None.
    pub const NONE: Self = Self(Vec::new());

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The fate of `life`.
    #[must_use]
    pub fn get(&self, life: Stamp) -> Option<&Fate> {
        let at = self.find(life).ok()?;
        self.0.get(at).map(|(_, fate)| fate)
    }

    /// The life that callers know as `first` and its fate; the one decided last, if the session has been here twice.
    #[must_use]
    pub fn of_session(&self, first: Stamp) -> Option<(Stamp, &Fate)> {
        let is_meant = |life: Stamp, fate: &Fate| {
            life == first || fate.renamed().is_some_and(|renamed| renamed.first == first)
        };
        let of_it = self.iter().filter(|(life, fate)| is_meant(*life, fate));
        of_it.max_by_key(|(_, fate)| fate.at())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Stamp, &Fate)> {
        self.0.iter().map(|(life, fate)| (*life, fate))
    }

    /// When the last of them was decided; [`Stamp::ZERO`] when there are none.
    #[must_use]
    pub fn latest(&self) -> Stamp {
        self.iter()
            .map(|(_, fate)| fate.at())
            .fold(Stamp::ZERO, Stamp::max)
    }

    /// Joins the fate of one life; returns whether anything changed.
    pub fn join(&mut self, life: Stamp, fate: &Fate) -> bool {
        match self.find(life) {
            Ok(at) => match self.0.get_mut(at) {
                Some((_, mine)) if fate > mine => mine.clone_from(fate),
                _ => return false,
            },
            Err(at) => {
                self.0.reserve_exact(1); // most ids have one
                self.0.insert(at, (life, fate.clone()));
                if self.0.len() > FATES_MAX {
                    return self.forget_first() != Some(life);
                }
            }
        }
        true
    }

    /// Joins all of `theirs`; returns whether anything changed.
    pub(super) fn join_all(&mut self, theirs: &Self) -> bool {
        theirs
            .iter()
            .fold(false, |changed, (life, fate)| self.join(life, fate) || changed)
    }

    /// Forgets the fate that was decided first, and says whose it was.
    fn forget_first(&mut self) -> Option<Stamp> {
        let ordered = self.0.iter().enumerate();
        let (at, _) = ordered.min_by_key(|(_, (life, fate))| (fate.at(), *life))?;
        Some(self.0.remove(at).0)
    }

    fn find(&self, life: Stamp) -> Result<usize, usize> {
        self.0.binary_search_by_key(&life, |(known, _)| *known)
    }
}

impl FromIterator<(Stamp, Fate)> for Fates {
    fn from_iter<I: IntoIterator<Item = (Stamp, Fate)>>(all: I) -> Self {
        let mut fates = Self::NONE;
        for (life, fate) in all {
            fates.join(life, &fate);
        }
        fates
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fates() -> impl Strategy<Value = Fates> {
        let stamp = || (1_u64..6, 1_u64..3).prop_map(|(time, node)| Stamp { time, node });
        let fate = (stamp(), "[a-b]", any::<bool>()).prop_map(|(at, to, ended)| {
            let first = Stamp::ZERO;
            match ended {
                true => Fate::Ended(at),
                false => Fate::Renamed(Renamed {
                    at,
                    to: to.into(),
                    from: "a".into(),
                    first,
                }),
            }
        });
        prop::collection::vec((stamp(), fate), 0..5).prop_map(Fates::from_iter)
    }

    fn joined(a: &Fates, b: &Fates) -> Fates {
        let mut a = a.clone();
        a.join_all(b);
        a
    }

    proptest! {
        #[test]
        fn fates_are_a_semilattice(a in fates(), b in fates(), c in fates()) {
            prop_assert_eq!(joined(&a, &b), joined(&b, &a));
            prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
            let mut once = joined(&a, &b);
            prop_assert!(!once.join_all(&b));
        }
    }

    #[test]
    fn of_many_fates_those_decided_last_are_remembered_in_any_order() {
        let at = |time| Stamp { time, node: 1 };
        let all: Vec<_> = (1..=3 * FATES_MAX as u64)
            .map(|n| (at(n), Fate::Ended(at(n + 1))))
            .collect();
        let forwards: Fates = all.iter().cloned().collect();
        let backwards: Fates = all.into_iter().rev().collect();
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), FATES_MAX);
        assert!(forwards.get(at(3 * FATES_MAX as u64)).is_some());
    }
}
