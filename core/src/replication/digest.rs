//! Digests for anti-entropy: sets of buckets, what two tables differ in, and one digest of a whole table.
//!
//! Where a Merkle tree has levels, there are two here: one summary, and one digest per bucket. The digests themselves
//! are made by [`crate::store`], and compared by [`crate::engine`].

use crate::base::id::BUCKETS;

/// A set of buckets, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets([u64; BUCKETS / 64]);

impl Buckets {
    /// No bucket.
    pub const NONE: Self = Self([0; BUCKETS / 64]);
    /// Every bucket.
    pub const ALL: Self = Self([u64::MAX; BUCKETS / 64]);

    /// The buckets whose digests differ. A missing digest differs.
    pub fn differing(mine: impl Iterator<Item = u64>, theirs: &[u64]) -> Self {
        let mut set = Self::NONE;
        for (index, digest) in mine.take(BUCKETS).enumerate() {
            if theirs.get(index) != Some(&digest) {
                set.insert(index);
            }
        }
        set
    }

    /// The set with these words; missing words are empty, further ones ignored.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let mut set = Self::NONE;
        for (mine, word) in set.0.iter_mut().zip(words) {
            *mine = *word;
        }
        set
    }

    /// The set as words.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0
            .get(index / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// How many buckets are in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// The buckets from `first` up to, but not with, `end`.
    #[must_use]
    pub fn range(first: usize, end: usize) -> Self {
        let mut set = Self::NONE;
        (first..end).for_each(|index| set.insert(index));
        set
    }

    /// Adds a bucket; an index past the last changes nothing.
    pub fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// The buckets in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.with(other, |mine, theirs| mine | theirs)
    }

    /// The buckets in this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.with(other, |mine, theirs| mine & !theirs)
    }

    /// The buckets in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.with(other, |mine, theirs| mine & theirs)
    }

    fn with(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut set = self.clone();
        for (mine, theirs) in set.0.iter_mut().zip(&other.0) {
            *mine = join(*mine, *theirs);
        }
        set
    }
}

/// One digest for all of these, in their order.
#[must_use]
pub fn summary(digests: &[u64]) -> u64 {
    digests.iter().fold(0xcbf2_9ce4_8422_2325, |sum, digest| {
        let mixed = (sum ^ digest).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_in_the_set() {
        let mine: Vec<u64> = (0..BUCKETS as u64).collect();
        let mut theirs = mine.clone();
        theirs[3] = 99;
        theirs[1000] = 99;
        let set = Buckets::differing(mine.iter().copied(), &theirs);
        assert_eq!(
            (set.count(), set.contains(3), set.contains(1000)),
            (2, true, true)
        );
        assert_eq!(Buckets::differing(mine.iter().copied(), &mine), Buckets::NONE);
        assert_eq!(Buckets::differing(mine.into_iter(), &[]), Buckets::ALL);
        assert_eq!(Buckets::from_words(set.words()), set);
    }
}
