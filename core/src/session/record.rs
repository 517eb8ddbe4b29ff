//! A session record: everything that is known of one session, or a part of it, which is a delta.
//!
//! ```text
//! lifecycle      deleted       tombstone: every life up to this stamp is over
//!                renamed_to    the id that took this one's place
//!                expired       idle expiry: the last touch its author knew of
//!                renamed_from  the id it had before
//! last_touch     the last use
//! max_inactive   idle lifetime
//! route          the worker it is bound to
//! attributes     name → bytes, or removed
//! ```
//! Each part is a maximum, so the whole is one too. Every part that belongs to a life counts as a touch at the
//! beginning of that life, so the last touch names the current life. **Normal form**: no part belongs to a life that
//! was deleted. The join restores it, and because lives are compared before stamps, it makes no difference when.
//!
//! A deletion is final for its life. An expiry is not: it names the last touch that its author knew of, and a later
//! touch refutes it, however late it arrives.
//!
//! When a session expires is decided by [`crate::engine`]; how records become bytes by [`crate::replication`].

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::register::join_into;
use super::{Attribute, Attributes, Lifecycle, LifecycleBox, Register, Renamed, Stamp, Touch, Value};

/// See the module page. A node holds many, so an absent part costs little.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Tombstone, expiry and renames.
    pub lifecycle: LifecycleBox,
    /// The last use; names the current life.
    pub last_touch: Option<Touch>,
    /// Idle lifetime.
    pub max_inactive: Option<Register<IdleLimit>>,
    /// The worker it is bound to.
    pub route: Option<Register<Arc<str>>>,
    /// The attributes, removed ones included.
    pub attributes: Attributes,
}

impl Record {
    /// A tombstone: every life up to `stamp` is over.
    #[must_use]
    pub fn tombstone(stamp: Stamp) -> Self {
        Self::of_lifecycle(Lifecycle {
            deleted: stamp,
            ..Lifecycle::default()
        })
    }

    /// An idle expiry by a node that knows of no touch later than `last`.
    #[must_use]
    pub fn expiry(last: Touch) -> Self {
        Self::of_lifecycle(Lifecycle {
            expired: Some(last),
            ..Lifecycle::default()
        })
    }

    /// A touch and nothing else.
    #[must_use]
    pub fn touch_only(last_touch: Touch) -> Self {
        Self {
            last_touch: Some(last_touch),
            ..Self::default()
        }
    }

    /// The tombstone of an id whose session has the id `to` from `at` on.
    #[must_use]
    pub fn renamed(at: Stamp, to: Arc<str>) -> Self {
        Self::of_lifecycle(Lifecycle {
            deleted: at,
            renamed_to: Some(Renamed { at, to }),
            ..Lifecycle::default()
        })
    }

    fn of_lifecycle(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle: lifecycle.into(),
            ..Self::default()
        }
    }

    /// The delta that tells another node whether the session is over and which worker it is bound to, without its
    /// contents.
    #[must_use]
    pub fn lifecycle_and_route(&self) -> Self {
        Self {
            lifecycle: self.lifecycle_without_origin(),
            route: self.route.clone(),
            ..Self::default()
        }
    }

    /// The lifecycle but for the id the session had before.
    fn lifecycle_without_origin(&self) -> LifecycleBox {
        let mut lifecycle = self.lifecycle.clone();
        lifecycle.change(|lifecycle| lifecycle.renamed_from = None);
        lifecycle
    }

    /// Joins `other` into this record; returns whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        self.join_sharing(other, &mut Arc::clone)
    }

    /// Joins `other`. Names and routes that are new to this record are taken from `share`, so that equal ones of many
    /// records can be one allocation.
    pub fn join_sharing(&mut self, other: &Self, share: &mut impl FnMut(&Arc<str>) -> Arc<str>) -> bool {
        let mut changed = !other.lifecycle.is_empty() && self.join_lifecycle(&other.lifecycle);
        let deleted = self.lifecycle.deleted;
        changed |= join_touch(
            &mut self.last_touch,
            other.last_touch.max(other.creation_touch()),
            deleted,
        );
        changed |= join_into(&mut self.max_inactive, other.max_inactive.as_ref(), deleted);
        if join_into(&mut self.route, other.route.as_ref(), deleted) {
            changed = true;
            if let Some(route) = &mut self.route {
                route.value = share(&route.value);
            }
        }
        for (name, theirs) in other.attributes.iter() {
            changed |= theirs.life > deleted && self.attributes.join(name, theirs, share);
        }
        changed
    }

    fn join_lifecycle(&mut self, theirs: &Lifecycle) -> bool {
        let deletes = theirs.deleted > self.lifecycle.deleted;
        if deletes {
            self.lifecycle
                .change(|lifecycle| lifecycle.deleted = theirs.deleted);
            self.normalise();
        }
        let joined = self.lifecycle.change(|lifecycle| {
            let deleted = lifecycle.deleted;
            let is_current = |renamed: &Renamed| renamed.at == deleted;
            let renamed = theirs.renamed_to > lifecycle.renamed_to
                && theirs.renamed_to.as_ref().is_some_and(is_current);
            if renamed {
                lifecycle.renamed_to.clone_from(&theirs.renamed_to);
            }
            let expired = join_touch(&mut lifecycle.expired, theirs.expired, deleted);
            let origin = join_into(&mut lifecycle.renamed_from, theirs.renamed_from.as_ref(), deleted);
            renamed || expired || origin
        });
        deletes || joined
    }

    /// The beginning of the latest life that any part but the touches belongs to, as a touch.
    fn creation_touch(&self) -> Option<Touch> {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.life),
            self.route.as_ref().map(|r| r.life),
            self.lifecycle.renamed_from.as_ref().map(|r| r.life),
        ];
        let lives = meta
            .into_iter()
            .flatten()
            .chain(self.attributes.registers().map(|r| r.life));
        lives.max().map(|life| Touch {
            life,
            at_ms: life.wall_ms(),
        })
    }

    /// Restores normal form: removes every part of a life that was deleted.
    fn normalise(&mut self) {
        let deleted = self.lifecycle.deleted;
        self.lifecycle.change(|lifecycle| {
            lifecycle.renamed_to.take_if(|renamed| renamed.at != deleted);
            lifecycle.expired.take_if(|last| last.life <= deleted);
            lifecycle.renamed_from.take_if(|r| r.life <= deleted);
        });
        self.last_touch.take_if(|last_touch| last_touch.life <= deleted);
        self.max_inactive.take_if(|r| r.life <= deleted);
        self.route.take_if(|r| r.life <= deleted);
        self.attributes.remove_lives_until(deleted);
    }

    /// Drops the contents of an expired session. Should a later touch refute the expiry, the node that knows of it has
    /// the contents as well; the session is incomplete here until they arrive.
    pub fn drop_expired_contents(&mut self) {
        if self.is_expired() {
            *self = Self {
                lifecycle: self.lifecycle_without_origin(),
                ..Self::default()
            };
        }
    }

    /// The current life: the latest one that any part belongs to; `None` when there is no session.
    #[must_use]
    pub fn life(&self) -> Option<Stamp> {
        self.last_touch.map(|last_touch| last_touch.life)
    }

    /// Whether it is a touch and nothing else.
    #[must_use]
    pub fn is_touch_only(&self) -> bool {
        *self
            == Self {
                last_touch: self.last_touch,
                ..Self::default()
            }
    }

    /// Whether it expired and no later touch is known.
    fn is_expired(&self) -> bool {
        self.lifecycle
            .expired
            .is_some_and(|last| Some(last) >= self.last_touch)
    }

    /// Whether there is a session, as opposed to a tombstone or nothing.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.last_touch.is_some() && !self.is_expired()
    }

    /// Whether the write that created the session is here. Later parts may arrive before it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.max_inactive.is_some() || self.last_touch.is_none()
    }

    /// When it expires unless it is touched, in milliseconds since 1970; `None` for never. Parts of a session that
    /// arrived before its creation count as having the idle lifetime `default`.
    #[must_use]
    pub fn expires_ms(&self, default: IdleLimit) -> Option<u64> {
        let IdleLimit::Millis(idle) = self.max_inactive.as_ref().map_or(default, |r| r.value) else {
            return None;
        };
        Some(self.last_touch?.at_ms.saturating_add(idle))
    }

    /// The attributes that have a value.
    pub fn values(&self) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.attributes
            .iter()
            .filter_map(|(name, r)| Some((name, r.value.as_ref()?)))
    }

    /// The version: the latest stamp in the record. Touches do not count.
    #[must_use]
    pub fn version(&self) -> Stamp {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.stamp),
            self.route.as_ref().map(|r| r.stamp),
            self.lifecycle.renamed_from.as_ref().map(|r| r.stamp),
        ];
        meta.into_iter()
            .flatten()
            .chain(self.attributes.registers().map(|r| r.stamp))
            .fold(self.lifecycle.deleted, Stamp::max)
    }

    /// The latest stamp of any kind, touches included. A clock has to observe it before it stamps a write that follows
    /// this record.
    #[must_use]
    pub fn latest(&self) -> Stamp {
        let touches = [self.last_touch, self.lifecycle.expired].into_iter().flatten();
        touches
            .map(|last_touch| last_touch.life.max(Stamp::at(last_touch.at_ms)))
            .chain(self.life())
            .fold(self.version(), Stamp::max)
    }

    /// About how many bytes of memory the record takes: names and values, and a flat sum for each.
    #[must_use]
    pub fn size(&self) -> usize {
        FLAT + self
            .attributes
            .iter()
            .map(|(name, r)| attribute_size(name, r))
            .sum::<usize>()
    }

    /// How many bytes its attributes' names and values have.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        let attribute = |(name, r): (&Arc<str>, &Register<Attribute>)| attribute_size(name, r) - ATTRIBUTE;
        self.attributes.iter().map(attribute).sum()
    }

    /// The size it would have if `delta` were joined: attributes with a value, all names, and bytes as in
    /// [`Self::size`].
    #[must_use]
    pub fn measure_with(&self, delta: &Self) -> (usize, usize, usize) {
        let (mut values, mut names, mut bytes) = (self.values().count(), self.attributes.len(), self.size());
        for (name, theirs) in delta.attributes.iter() {
            if let Some(mine) = self.attributes.get(name) {
                values -= usize::from(mine.value.is_some());
                bytes -= attribute_size(name, mine);
                names -= 1;
            }
            values += usize::from(theirs.value.is_some());
            bytes += attribute_size(name, theirs);
            names += 1;
        }
        (values, names, bytes)
    }

    /// Splits it by its attributes into records of at most `bytes` bytes that join to the same; one attribute alone may
    /// be larger. The last record alone has the other parts, so a session that arrives in pieces is complete once all
    /// of it is there.
    #[must_use]
    pub fn split(mut self, bytes: usize) -> Vec<Self> {
        let mut fragments = Vec::new();
        let mut left = self.size();
        while left > bytes && self.attributes.len() > 1 {
            let mut fragment = Self::default();
            let mut taken = FLAT;
            while self.attributes.len() > 1
                && let Some((name, register)) = self.attributes.pop()
            {
                let size = attribute_size(&name, &register);
                fragment.attributes.insert(name, register);
                (taken, left) = (taken + size, left - size);
                let next = self
                    .attributes
                    .last()
                    .map_or(0, |(name, r)| attribute_size(name, r));
                if left <= bytes || taken + next > bytes {
                    break;
                }
            }
            fragments.push(fragment);
        }
        fragments.push(self);
        fragments
    }

    /// Whether it is one of the fragments before the last that [`Self::split`] makes: attributes of a session whose
    /// other parts follow.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        !self.attributes.is_empty()
            && *self
                == Self {
                    attributes: self.attributes.clone(),
                    ..Self::default()
                }
    }

    /// A digest that two live records share if, and but for a chance in 2^64 only if, they are of the same life and
    /// hold the same writes. Touches do not count, because nodes replicate them late; tombstones and expired sessions
    /// have the digest 0, because nodes forget them at their own pace.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let Some(life) = self.life().filter(|_| self.is_alive()) else {
            return 0;
        };
        let mut sum = mix("\0life", life);
        let mut add = |kind: &str, stamp: Stamp| sum ^= mix(kind, stamp);
        if let Some(r) = &self.max_inactive {
            add("\0idle", r.stamp);
        }
        if let Some(r) = &self.route {
            add("\0route", r.stamp);
        }
        if let Some(r) = &self.lifecycle.renamed_from {
            add("\0origin", r.stamp);
        }
        for (name, r) in self.attributes.iter() {
            add(name, r.stamp);
        }
        sum
    }
}

impl Record {
    /// Like [`Self::digest`], and differs between records that know of another end of the lives before: what is about to
    /// be the only one to know of an end must not be taken for equal.
    #[must_use]
    pub fn digest_with_end(&self) -> u64 {
        match (self.digest(), self.lifecycle.deleted) {
            (0, _) => 0,
            (digest, Stamp::ZERO) => digest,
            (digest, deleted) => digest ^ mix("\0deleted", deleted),
        }
    }
}

/// How many bytes of memory a record takes without attributes, and an attribute without its name and value.
const FLAT: usize = 320;
const ATTRIBUTE: usize = 112;

fn attribute_size(name: &str, register: &Register<Attribute>) -> usize {
    ATTRIBUTE + name.len() + register.value.as_ref().map_or(0, |value| value.len())
}

/// Joins a touch, unless it belongs to a life up to `deleted`; returns whether it was later.
fn join_touch(mine: &mut Option<Touch>, theirs: Option<Touch>, deleted: Stamp) -> bool {
    let later = theirs.filter(|last_touch| last_touch.life > deleted && Some(*last_touch) > *mine);
    *mine = later.or(*mine);
    later.is_some()
}

fn mix(kind: &str, stamp: Stamp) -> u64 {
    let mut hash = stamp.time ^ stamp.node.rotate_left(32);
    for byte in kind.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
