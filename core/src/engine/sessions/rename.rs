//! Another id for a session: attributes and lifetimes stay, and the old id is no key to it any more.
//!
//! All of it is one change to one session, the one under the new id, which names the id it had. Every node that hears of
//! the new id ends the old one by itself, so no node ever knows of one without the other. In `backup` mode others hold
//! the old id, and are told of its end beside it. What changes of the session that others make meanwhile under the old
//! id become is in [`super::identity`].

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Refused, Written};
use crate::session::{Fate, Lifecycle, Record, Touch};

/// What to do where another session has the new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// The rename is refused.
    Refuse,
    /// That session is deleted.
    Replace,
}

impl Engine {
    /// Gives a session another id; attributes and lifetimes stay.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::InUse`], [`Refused::Incomplete`], [`Refused::NotReady`].
    pub fn rename(
        &mut self,
        from: &SessionKey,
        to: &SessionKey,
        in_use: InUse,
        now: Now,
    ) -> Result<Written, Refused> {
        self.check_ready()?;
        let known = self.table.get(from);
        let old = self.served(known, now)?.clone();
        let other = self.table.get(to);
        match self.served(other, now) {
            Err(Refused::NotFound) => {}
            _ if in_use == InUse::Refuse => return Err(Refused::InUse),
            _ => {}
        }
        // Whatever has the new id, or had it until its time was up, is over.
        let replaced = other.map(Record::lives).unwrap_or_default();
        let is_served = self.served(other, now) != Err(Refused::NotFound);
        let ends = other.map(Record::ends).unwrap_or_default();
        let (over, life) = (self.stamp(now), self.stamp(now));
        let at_ms = self.touch_ms(Some(&old), now);
        let mut moved = old.renamed_from(from.id().into(), life);
        moved.last_touch = moved.last_touch.max(Some(Touch { life, at_ms }));
        moved.lifecycle.change(|lifecycle| {
            *lifecycle = Lifecycle {
                deleted: ends.lifecycle.deleted,
                fates: ends.lifecycle.fates.clone(),
                ..lifecycle.clone()
            };
            for life in &replaced {
                if is_served {
                    // Life by life: a session that another node gave this id meanwhile was replaced by nobody.
                    lifecycle.fates.join(*life, &Fate::Ended(over));
                } else {
                    lifecycle.deleted = lifecycle.deleted.max(*life);
                }
            }
        });
        let first = old.first_life().unwrap_or(life);
        self.counters.renamed += 1;
        let before = self.location(from);
        let mut written = self.commit(to, moved, life, now);
        written.life = first;
        let renamed = self.table.get(to).and_then(Record::life) == Some(life);
        if !renamed {
            // Under an id that the session had before, it was known here that it was deleted.
            return Err(Refused::NotFound);
        }
        if self.backup.placement.is_some()
            && let Some(end) = self.table.get(from).map(Record::ends)
        {
            // The nodes that hold the old id are others.
            written
                .write_set
                .merge(self.commit_from(from, &before, end, life, now).write_set);
        }
        Ok(written)
    }
}
