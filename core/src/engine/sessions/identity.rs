//! The identity of sessions across renames: every change is applied to the session under the id it has now, and callers
//! that began before a rename may follow it for a while.
//!
//! What a change of one id means for others is decided by [`crate::session::Consequences`]; here it is carried out, on
//! every node for itself. In `backup` mode other nodes hold those other ids, and are sent what this node has of them:
//! sessions by hinted handoff ([`crate::engine::backup::handoff`]), ends by [`crate::engine::backup::tombstones`].
//!
//! The old id is no second key to the session: reads find nothing under it. A write follows only if it names the life it
//! read ([`Engine::locate`]) or was under way when this node heard of the rename.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Refused;
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::{Engine, Phase};
use crate::session::{Consequences, ForOther, Record, Stamp};

/// How many changes of other ids one change may mean. A longer chain of renames is followed no further: what is left is
/// dropped here, and repaired.
const CONSEQUENCES_MAX: usize = 256;
/// How often in a row an id may have been changed and still be followed by callers.
const HOPS: usize = 16;
/// How many renames this node remembers having heard of; of more, the latest. Writes that name an older one do not follow.
const HEARD_MAX: usize = 65_536;

/// When this node heard of renames, by its own monotonic clock: what it did not serve before it was ready it heard of at
/// the moment of the rename. Forgotten after the longest time callers may follow.
#[derive(Debug, Default)]
pub(in crate::engine) struct Heard {
    at: BTreeMap<(SessionKey, Stamp), Duration>,
    order: VecDeque<(Duration, SessionKey, Stamp)>,
}

impl Heard {
    fn note(&mut self, key: &SessionKey, life: Stamp, at: Duration) {
        if self.at.len() >= HEARD_MAX {
            self.forget_first();
        }
        self.at.entry((key.clone(), life)).or_insert(at);
        self.order.push_back((at, key.clone(), life));
    }

    fn forget_first(&mut self) {
        if let Some((_, key, life)) = self.order.pop_front() {
            self.at.remove(&(key, life));
        }
    }

    /// Forgets what was heard longer than `longest` ago.
    pub(in crate::engine) fn forget(&mut self, longest: Duration, now: Now) {
        while self
            .order
            .front()
            .is_some_and(|(at, ..)| *at + longest <= now.mono)
        {
            self.forget_first();
        }
    }

    /// When it was heard that `life` of `key` was renamed, if callers may still follow.
    fn when(&self, key: &SessionKey, life: Stamp, longest: Duration, now: Now) -> Option<Duration> {
        let at = self.at.get(&(key.clone(), life)).copied()?;
        (now.mono < at + longest).then_some(at)
    }
}

impl Engine {
    /// Joins a change, whoever it comes from, and whatever it means for other ids.
    pub(in crate::engine) fn join(&mut self, key: &SessionKey, delta: &Record, now: Now) {
        let known = self.table.get(key);
        let plain = delta.lifecycle.is_empty() && known.is_none_or(|known| known.lifecycle.is_empty());
        if plain || key.is_reserved() {
            self.join_here(key, delta, now); // it was never renamed
            return;
        }
        let mut others = VecDeque::new();
        self.join_one(key, delta, &mut others, now);
        for done in 0.. {
            let Some((ForOther { id, change }, is_whole)) = others.pop_front() else {
                return;
            };
            if done == CONSEQUENCES_MAX {
                tracing::error!(
                    ?key,
                    "was renamed too often to follow; what is left of it is repaired"
                );
                return;
            }
            let Some(other) = SessionKey::received(key.app(), &id) else {
                continue;
            };
            let known = self.table.get(&other);
            if change.is_touch_only() && known.is_none_or(|known| known.life() < change.life()) {
                continue; // of a session that is not here; should there be one, it comes as a whole
            }
            let ends = !change.lifecycle.is_empty();
            let is_part = !is_whole && !known.is_some_and(Record::is_alive);
            if self.join_one(&other, &change, &mut others, now) && ends {
                self.owe_ends(&other);
            }
            if is_part {
                self.note_unproven(vec![other], now);
            }
        }
    }

    /// Joins a change of one id; adds what it means for others to `others`, each with whether it holds all there is of a
    /// session that moves.
    fn join_one(
        &mut self,
        key: &SessionKey,
        delta: &Record,
        others: &mut VecDeque<(ForOther, bool)>,
        now: Now,
    ) -> bool {
        let nothing = Record::default();
        let known = self.table.get(key).unwrap_or(&nothing);
        let found = Consequences::of(key.id(), known, delta);
        for (life, at) in found.renamed {
            let heard = if self.phase == Phase::Ready {
                now.mono
            } else {
                self.moment(at.wall_ms(), now)
            };
            self.heard.note(key, life, heard);
        }
        let is_whole = self.keeps(key);
        others.extend(found.others.into_iter().map(|other| (other, is_whole)));
        if found.decided.is_empty() {
            return self.join_here(key, delta, now);
        }
        // What was decided comes first, so that nothing of a session that does not stay gets in.
        self.counters.renames_undone += found.decided.len() as u64;
        self.join_here(key, &Record::of_fates(found.decided), now);
        self.owe_ends(key);
        self.join_here(key, delta, now);
        true
    }

    /// What a deletion of this node is under the ids that the session had before: others need not have heard of its
    /// renames, and count as having heard of its end.
    pub(super) fn earlier_ends(&self, key: &SessionKey, delta: &Record) -> Vec<(SessionKey, Record)> {
        if delta.lifecycle.fates.is_empty() {
            return Vec::new();
        }
        let known = self.table.get(key).into_iter();
        let ends = known.flat_map(|known| known.earlier_ends(key.id(), delta));
        let ends = ends.filter_map(|end| Some((SessionKey::received(key.app(), &end.id)?, end.change)));
        ends.collect()
    }

    /// The id under which a change is to be made that holds only if the session of `key` is still the one whose creation
    /// has the stamp `first`. Every node decides that for itself, and the change carries the life, so that a node that knows
    /// more drops it.
    ///
    /// # Errors
    /// [`Refused::NotReady`], [`Refused::Incomplete`]; [`Refused::Unmet`] where it is another one, or over.
    pub fn locate(&self, key: &SessionKey, first: Stamp, now: Now) -> Result<SessionKey, Refused> {
        self.check_ready()?;
        let mut key = key.clone();
        for _ in 0..HOPS {
            let known = self.table.get(&key);
            if let Some(known) = known.filter(|known| known.is_of_life(first)) {
                return match self.served(Some(known), now) {
                    Ok(_) => Ok(key),
                    Err(Refused::NotFound) => Err(Refused::Unmet),
                    Err(refused) => Err(refused),
                };
            }
            key = self.followed(&key, first, now).ok_or(Refused::Unmet)?;
        }
        Err(Refused::Unmet)
    }

    /// The id to which the session went that callers know as `first` and that had the id `key`, if they may follow.
    fn followed(&self, key: &SessionKey, first: Stamp, now: Now) -> Option<SessionKey> {
        let (life, fate) = self.table.get(key)?.lifecycle.fates.of_session(first)?;
        self.heard.when(key, life, self.config.rename_forward, now)?;
        let to = &fate.renamed()?.to;
        SessionKey::received(key.app(), to)
    }

    /// When `time_ms` of the cluster's time was, by this node's monotonic clock.
    fn moment(&self, time_ms: u64, now: Now) -> Duration {
        let ago_ms = self.time_ms(now).saturating_sub(time_ms);
        now.mono.saturating_sub(Duration::from_millis(ago_ms))
    }

    /// The id that the session has now which `key` meant when a request began, at `began_ms` of the cluster's time, that
    /// named no life: if this node heard of a rename since, it meant the session that was renamed. `None` where that is
    /// over: deleted since, or renamed so long ago that nothing follows any more.
    #[must_use]
    pub fn locate_for_request(&self, key: &SessionKey, began_ms: u64, now: Now) -> Option<SessionKey> {
        if self.was_deleted_since(key, began_ms) {
            return None;
        }
        let (began, longest) = (self.moment(began_ms, now), self.config.rename_forward);
        let fates = self
            .table
            .get(key)
            .into_iter()
            .flat_map(|known| known.lifecycle.fates.iter());
        let left_since = fates.filter_map(|(life, fate)| {
            let renamed = fate.renamed()?;
            let heard = self.heard.when(key, life, longest, now);
            let since = heard.map_or(renamed.at.wall_ms() >= began_ms, |heard| began <= heard);
            since.then_some((renamed, heard.is_some()))
        });
        // Of several that were here since, the one that was here when the request began.
        let Some((mut renamed, mut follows)) = left_since.min_by_key(|(renamed, _)| renamed.at) else {
            return Some(key.clone());
        };
        for _ in 0..HOPS {
            let (life, key) = (renamed.at, SessionKey::received(key.app(), &renamed.to)?);
            let lifecycle = &self.table.get(&key).filter(|_| follows)?.lifecycle;
            match lifecycle.fates.get(life) {
                Some(fate) => renamed = fate.renamed()?,
                None => return (!lifecycle.is_over(life)).then_some(key),
            }
            follows = self.heard.when(&key, life, longest, now).is_some();
        }
        None
    }

    /// The ids that changes of `key` may have to be made under. The session of each has to be here first.
    #[must_use]
    pub fn later_keys(&self, key: &SessionKey, now: Now) -> Vec<SessionKey> {
        let Some(known) = self.table.get(key) else {
            return Vec::new();
        };
        let renamed = known.lifecycle.fates.iter().filter_map(|(life, fate)| {
            self.heard.when(key, life, self.config.rename_forward, now)?;
            SessionKey::received(key.app(), &fate.renamed()?.to)
        });
        renamed.collect()
    }
}
