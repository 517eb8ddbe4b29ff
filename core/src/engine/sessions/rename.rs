//! Another id for a session: attributes and lifetimes stay, the old id is over, and for a while it still finds the
//! session, so that a request that was under way with it does.
//!
//! All of it is one change to one session, the new one, which names the id it had. Every node that hears of the new
//! id ends the old one by itself, so no node ever knows of one without the other. In `backup` mode others hold the old
//! id, and are told of its end beside it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::expiry;
use crate::engine::sessions::{Refused, Written};
use crate::session::{Lifecycle, LifecycleBox, Record, Register, Touch};

/// How often in a row an id may have been changed and still be followed.
const HOPS: usize = 8;

impl Engine {
    /// Gives a session another id; attributes and lifetimes stay. A session that has the new id already is ended.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Incomplete`], [`Refused::NotReady`].
    pub fn rename(&mut self, from: &SessionKey, to: &SessionKey, now: Now) -> Result<Written, Refused> {
        self.check_ready()?;
        let (from, known) = self.resolve(from, now);
        let old = self.served(known, now)?.clone();
        let from = &*from;
        if from == to {
            // Another request has renamed it to this already. An empty change, whose copies are those of all before.
            let version = old.version();
            return Ok(self.commit(to, Record::default(), version, now));
        }
        let over = self.stamp(now);
        let life = self.stamp(now);
        let at_ms = self.touch_ms(Some(&old), now);
        let moved = Record {
            lifecycle: LifecycleBox::from(Lifecycle {
                deleted: over,
                renamed_from: Some(Register {
                    life,
                    stamp: over,
                    value: from.id().into(),
                }),
                ..Lifecycle::default()
            }),
            last_touch: Some(Touch { life, at_ms }),
            max_inactive: old.max_inactive.map(|r| begin(life, r)),
            route: old.route.map(|r| begin(life, r)),
            attributes: old
                .attributes
                .iter()
                .filter(|(_, register)| register.value.is_some())
                .map(|(name, register)| (name.clone(), begin(life, register.clone())))
                .collect(),
        };
        self.counters.renamed += 1;
        let before = self.location(from);
        let mut written = self.commit(to, moved, life, now);
        if self.backup.placement.is_some() {
            // The nodes that hold the old id are others.
            let end = Record::renamed(over, to.id().into());
            written
                .write_set
                .merge(self.commit_from(from, &before, end, over, now).write_set);
        }
        Ok(written)
    }

    /// The id the session of `key` has by now.
    #[must_use]
    pub fn current_key<'a>(&self, key: &'a SessionKey, now: Now) -> Cow<'a, SessionKey> {
        let mut current = Cow::Borrowed(key);
        for _ in 0..HOPS {
            let Some(to) = self.moved_to(&current, now) else {
                break;
            };
            current = Cow::Owned(SessionKey::new(key.app(), &to));
        }
        current
    }

    /// The id that took the place of `key` not long ago.
    fn moved_to(&self, key: &SessionKey, now: Now) -> Option<Arc<str>> {
        let record = self.table.get(key).filter(|record| !record.is_alive())?;
        let renamed = record.lifecycle.renamed_to.as_ref()?;
        let until = renamed.at.wall_ms() + expiry::ms(self.config.rename_forward);
        (self.members.time_ms(now) < until).then(|| renamed.to.clone())
    }

    /// A session names the id it had before: that one is over.
    pub(in crate::engine) fn end_old_id(&mut self, key: &SessionKey, origin: &Register<Arc<str>>, now: Now) {
        let old = SessionKey::received(key.app(), &origin.value);
        if let Some(old) = old.filter(|old| old != key) {
            self.join(&old, &Record::renamed(origin.stamp, key.id().into()), now);
        }
    }
}

/// A value as the first of a life.
fn begin<T>(life: crate::session::Stamp, register: Register<T>) -> Register<T> {
    Register {
        life,
        stamp: life,
        value: register.value,
    }
}
