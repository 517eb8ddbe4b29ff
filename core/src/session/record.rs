//! A session record: everything that is known of one session, or a part of it, which is a delta.
//!
//! ```text
//! lifecycle      deleted       tombstone: every life up to this stamp is over
//!                fates         single lives that were deleted, or went on under another id
//!                expired       idle expiry: the last touch its author knew of
//!                renamed_from  the id it had before
//! last_touch     the last use
//! max_inactive   idle lifetime
//! route          the worker it is bound to
//! attributes     name → bytes, or removed
//! ```
//! Each part is a maximum, so the whole is one too. Every part that belongs to a life counts as a touch at the
//! beginning of that life, so the last touch names the current life. **Normal form**: no part belongs to a life that
//! was deleted or renamed. The join restores it, and because lives are compared before stamps, it makes no difference
//! when.
//!
//! A deletion is final for its life. An expiry is not: it names the last touch that its author knew of, and a later
//! touch refutes it, however late it arrives. A rename takes a life to another id; what belongs to it is taken there by
//! [`super::identity`] before the join drops it here.
//!
//! When a session expires is decided by [`crate::engine`]; how records become bytes by [`crate::replication`].

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::register::join_into;
use super::{
    Attribute, Attributes, Fate, Fates, Lifecycle, LifecycleBox, Origin, Register, Stamp, Touch, Value,
};

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

    /// A deletion at `stamp` of this record's session: all its lives end, under every id, and with them every life up to
    /// `stamp` that has this id.
    #[must_use]
    pub fn deletion(&self, stamp: Stamp) -> Self {
        let ended = self.lives().into_iter().map(|life| (life, Fate::Ended(stamp)));
        Self::of_lifecycle(Lifecycle {
            deleted: stamp,
            fates: ended.collect(),
            ..Lifecycle::default()
        })
    }

    /// Fates of lives and nothing else.
    #[must_use]
    pub fn of_fates(fates: Fates) -> Self {
        Self::of_lifecycle(Lifecycle {
            fates,
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

    /// The delta that tells another node which lives have left this id, and nothing of the one that has it.
    #[must_use]
    pub fn ends(&self) -> Self {
        Self::of_lifecycle(Lifecycle {
            deleted: self.lifecycle.deleted,
            fates: self.lifecycle.fates.clone(),
            ..Lifecycle::default()
        })
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
        let lifecycle = &self.lifecycle;
        changed |= join_touch(&mut self.last_touch, other.last_touch, lifecycle);
        changed |= join_touch(&mut self.last_touch, other.creation_touch(lifecycle), lifecycle);
        changed |= join_into(&mut self.max_inactive, other.max_inactive.as_ref(), lifecycle);
        if join_into(&mut self.route, other.route.as_ref(), lifecycle) {
            changed = true;
            if let Some(route) = &mut self.route {
                route.value = share(&route.value);
            }
        }
        for (name, theirs) in other.attributes.iter() {
            changed |= !lifecycle.is_over(theirs.life) && self.attributes.join(name, theirs, share);
        }
        changed
    }

    fn join_lifecycle(&mut self, theirs: &Lifecycle) -> bool {
        let ends = self.lifecycle.change(|lifecycle| {
            let deletes = theirs.deleted > lifecycle.deleted;
            lifecycle.deleted = theirs.deleted.max(lifecycle.deleted);
            lifecycle.fates.join_all(&theirs.fates) || deletes
        });
        if ends {
            self.normalise();
        }
        let joined = self.lifecycle.change(|lifecycle| {
            let (mut expired, mut origin) = (lifecycle.expired, lifecycle.renamed_from.take().map(|r| *r));
            let later = join_touch(&mut expired, theirs.expired, lifecycle);
            let theirs = theirs.renamed_from.as_deref();
            let moved = join_into(&mut origin, theirs, lifecycle) || join_names(&mut origin, theirs);
            (lifecycle.expired, lifecycle.renamed_from) = (expired, origin.map(Box::new));
            later || moved
        });
        ends || joined
    }

    /// The lives that any part but the touches belongs to, in no order and each as often as parts have it.
    pub(super) fn lives_of_registers(&self) -> impl Iterator<Item = Stamp> {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.life),
            self.route.as_ref().map(|r| r.life),
            self.lifecycle.renamed_from.as_ref().map(|r| r.life),
        ];
        meta.into_iter()
            .flatten()
            .chain(self.attributes.registers().map(|r| r.life))
    }

    /// The lives its session consists of; more than one where sessions were created under one id at the same time.
    #[must_use]
    pub fn lives(&self) -> Vec<Stamp> {
        let mut lives: Vec<_> = self.lives_of_registers().chain(self.life()).collect();
        lives.sort_unstable();
        lives.dedup();
        lives
    }

    /// The beginning of the latest life that any part but the touches belongs to and that is not over, as a touch.
    fn creation_touch(&self, lifecycle: &Lifecycle) -> Option<Touch> {
        let lives = self.lives_of_registers();
        let living = lives.filter(|life| !lifecycle.is_over(*life));
        living.max().map(|life| Touch {
            life,
            at_ms: life.wall_ms(),
        })
    }

    /// Restores normal form: removes every part of a life that is over.
    fn normalise(&mut self) {
        self.lifecycle.change(|lifecycle| {
            let (expired, origin) = (lifecycle.expired, lifecycle.renamed_from.take());
            lifecycle.expired = expired.filter(|last| !lifecycle.is_over(last.life));
            lifecycle.renamed_from = origin.filter(|r| !lifecycle.is_over(r.life));
        });
        let lifecycle = &self.lifecycle;
        self.max_inactive.take_if(|r| lifecycle.is_over(r.life));
        self.route.take_if(|r| lifecycle.is_over(r.life));
        self.attributes.remove_over(lifecycle);
        if self
            .last_touch
            .take_if(|touch| lifecycle.is_over(touch.life))
            .is_some()
        {
            // What is left belongs to another life, which nobody has touched since it began as far as is known here.
            self.last_touch = self.creation_touch(lifecycle);
        }
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

    /// The life that callers know the session by: the stamp of its creation, whatever id it has.
    #[must_use]
    pub fn first_life(&self) -> Option<Stamp> {
        let life = self.life()?;
        let origin = self.lifecycle.renamed_from.as_ref().filter(|r| r.life == life);
        Some(origin.map_or(life, |origin| origin.value.first))
    }

    /// Whether `life` is one that callers may know its session by.
    #[must_use]
    pub fn is_of_life(&self, life: Stamp) -> bool {
        let origin = self.lifecycle.renamed_from.as_ref();
        origin.is_some_and(|origin| origin.value.first == life)
            || self.life() == Some(life)
            || self.lives_of_registers().any(|known| known == life)
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

    /// Whether it holds what a session held that has expired, and `change` belongs to a later one. Should a touch refute
    /// the expiry, the two must not become one.
    #[must_use]
    pub fn lingers_under(&self, change: &Self) -> bool {
        let life = self.life().filter(|_| !self.is_alive());
        life.is_some_and(|life| change.lives_of_registers().any(|later| later > life))
    }

    /// Whether there is a session, as opposed to a tombstone or nothing.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.last_touch.is_some() && !self.is_expired()
    }

    /// Whether the write that began the current life is here. Later parts may arrive before it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let began = self.max_inactive.as_ref().map(|r| r.life);
        began == self.life() || self.last_touch.is_none()
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
            .fold(self.lifecycle.last_end(), Stamp::max)
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

/// Joins the names a session has had: a node may have heard of some of them alone.
fn join_names(mine: &mut Option<Register<Origin>>, theirs: Option<&Register<Origin>>) -> bool {
    let (Some(mine), Some(theirs)) = (mine, theirs.filter(|r| !r.value.names.is_empty())) else {
        return false;
    };
    if mine.stamp != theirs.stamp || mine.value == theirs.value {
        return false;
    }
    let before = mine.value.clone();
    let names = &mut mine.value.names;
    names.extend(theirs.value.names.iter().cloned());
    names.sort_unstable();
    names.dedup();
    mine.value != before
}

/// Joins a touch, unless it belongs to a life that is over; returns whether it was later.
fn join_touch(mine: &mut Option<Touch>, theirs: Option<Touch>, lifecycle: &Lifecycle) -> bool {
    let later = theirs.filter(|touch| !lifecycle.is_over(touch.life) && Some(*touch) > *mine);
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
