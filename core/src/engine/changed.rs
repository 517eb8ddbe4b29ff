//! What has changed since derived state was last recomputed, and the one place that recomputes it.
//!
//! Whoever changes members, workers, the phase or one of the cluster's own sessions notes it in [`Changed`]. Every public
//! entry point that can do so ends with [`Engine::settle`], which takes joining a step on, makes the worker table and the
//! placement view anew and tells listeners of members, each only if something it depends on was noted. Operations on
//! users' sessions change none of it and do not settle.

use super::Engine;
use crate::base::clock::Now;

/// A set of kinds of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Changed(u8);

impl Changed {
    /// Members came or went, or one of them has another state.
    pub(in crate::engine) const MEMBERS: Self = Self(1);
    /// This node is in another [`super::Phase`].
    pub(in crate::engine) const PHASE: Self = Self(1 << 1);
    /// This node's workers, their health, or what other nodes announced of theirs.
    pub(in crate::engine) const WORKERS: Self = Self(1 << 2);
    /// One of the cluster's own sessions: admin states or token keys.
    pub(in crate::engine) const RESERVED: Self = Self(1 << 3);
    /// Something a joining node waits for: a part of the table, a seed's answer, time.
    pub(in crate::engine) const JOINING: Self = Self(1 << 4);
    /// Everything: nothing has been derived yet.
    pub(in crate::engine) const ALL: Self = Self((1 << 5) - 1);

    /// Adds `other` to the set.
    pub(in crate::engine) const fn note(&mut self, other: Self) {
        self.0 |= other.0;
    }

    const fn has_any(self, kinds: &[Self]) -> bool {
        let mut rest = kinds;
        while let [kind, others @ ..] = rest {
            if self.0 & kind.0 != 0 {
                return true;
            }
            rest = others;
        }
        false
    }
}

impl Engine {
    /// Recomputes what depends on anything that was noted. Costs one branch when nothing was.
    pub(in crate::engine) fn settle(&mut self, now: Now) {
        if self.changed != Changed::default() {
            self.recompute(now);
        }
    }

    fn recompute(&mut self, now: Now) {
        if self.changed.has_any(&[Changed::MEMBERS, Changed::JOINING]) {
            self.progress_join(now); // may end in another phase
        }
        let changed = std::mem::take(&mut self.changed);
        let states = changed.has_any(&[Changed::MEMBERS, Changed::PHASE]);
        if states {
            self.tell_members();
        }
        if changed.has_any(&[Changed::RESERVED]) {
            self.read_reserved();
        }
        let rows = states || changed.has_any(&[Changed::WORKERS, Changed::RESERVED]);
        let rows_changed = rows && self.refresh_table();
        if states || rows_changed {
            self.refresh_view(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_noted_and_nothing_else() {
        let mut changed = Changed::default();
        assert!(!changed.has_any(&[Changed::ALL]));
        changed.note(Changed::PHASE);
        changed.note(Changed::RESERVED);
        assert!(changed.has_any(&[Changed::MEMBERS, Changed::PHASE]));
        assert!(!changed.has_any(&[Changed::MEMBERS, Changed::WORKERS, Changed::JOINING]));
    }
}
