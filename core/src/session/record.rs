//! A session with everything that ever decides about it, or a part of one: a delta.
//!
//! ```text
//! past           deleted   the greatest stamp of a deletion: every life up to it is over
//!                moved     the id it was given instead, if that was how it ended
//!                ended     the last use after which it was found idle for too long
//!                origin    the id it had before
//! used           the last use
//! max_inactive   idle lifetime
//! route          the worker it is bound to
//! attributes     name → bytes, or removed
//! ```
//! Each is a maximum, so the whole is one too. Whatever belongs to a life counts as a use at its beginning, so the
//! last use names the current life. **Normal form**: nothing of a life that was deleted is kept; the
//! join restores it, and because lives decide before stamps, when it does so makes no difference.
//!
//! A deletion is final for its life. Idleness is an opinion: whoever says that a session was idle says since which
//! use, and a later use that it had not heard of wins, however late it is heard.

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::register::join_into;
use super::{Attribute, Attributes, Endings, Moved, Past, Register, Stamp, Touch, Value};

/// See the module page. There are many of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// How lives of it ended, and which id it had before.
    pub past: Past,
    /// Last use.
    pub last_touch: Option<Touch>,
    /// Idle lifetime.
    pub max_inactive: Option<Register<IdleLimit>>,
    /// The bound worker.
    pub route: Option<Register<Arc<str>>>,
    /// The attributes, removed ones included.
    pub attributes: Attributes,
}

impl Record {
    /// A record that says only: every life up to `stamp` is over.
    #[must_use]
    pub fn tombstone(stamp: Stamp) -> Self {
        Self::of_past(Endings {
            deleted: stamp,
            ..Endings::default()
        })
    }

    /// A record that says only: it was last used like this, and found idle since.
    #[must_use]
    pub fn expiry(last: Touch) -> Self {
        Self::of_past(Endings {
            ended: Some(last),
            ..Endings::default()
        })
    }

    /// A record that says only: it was used.
    #[must_use]
    pub fn touch_only(last_touch: Touch) -> Self {
        Self {
            last_touch: Some(last_touch),
            ..Self::default()
        }
    }

    /// A record that says only: its session has the id `to` from `over` on.
    #[must_use]
    pub fn moved(over: Stamp, to: Arc<str>) -> Self {
        Self::of_past(Endings {
            deleted: over,
            moved: Some(Moved { over, to }),
            ..Endings::default()
        })
    }

    fn of_past(endings: Endings) -> Self {
        Self {
            past: endings.into(),
            ..Self::default()
        }
    }

    /// What it says of where its session is: that it is over, or which worker it is bound to.
    #[must_use]
    pub fn location(&self) -> Self {
        Self {
            past: self.deadlines(),
            route: self.route.clone(),
            ..Self::default()
        }
    }

    /// Its past but for the id it had before.
    fn deadlines(&self) -> Past {
        let mut deadlines = self.past.clone();
        deadlines.change(|past| past.origin = None);
        deadlines
    }

    /// Joins `other` into this record; says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        self.join_sharing(other, &mut Arc::clone)
    }

    /// Joins `other`; names and routes that are new to this record are taken from `share`, so that equal ones of
    /// many records can be one.
    pub fn join_sharing(&mut self, other: &Self, share: &mut impl FnMut(&Arc<str>) -> Arc<str>) -> bool {
        let mut changed = !other.past.is_empty() && self.join_past(&other.past);
        let deleted = self.past.deleted;
        changed |= raise(&mut self.last_touch, other.last_touch.max(other.begun()), deleted);
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

    fn join_past(&mut self, theirs: &Endings) -> bool {
        let over = theirs.deleted > self.past.deleted;
        if over {
            self.past.change(|past| past.deleted = theirs.deleted);
            self.normalise();
        }
        let joined = self.past.change(|past| {
            let deleted = past.deleted;
            let moved =
                theirs.moved > past.moved && theirs.moved.as_ref().is_some_and(|moved| moved.over == deleted);
            if moved {
                past.moved.clone_from(&theirs.moved);
            }
            let ended = raise(&mut past.ended, theirs.ended, deleted);
            let origin = join_into(&mut past.origin, theirs.origin.as_ref(), deleted);
            moved || ended || origin
        });
        over || joined
    }

    /// The beginning of the latest life that any part but the uses belongs to, as a use.
    fn begun(&self) -> Option<Touch> {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.life),
            self.route.as_ref().map(|r| r.life),
            self.past.origin.as_ref().map(|r| r.life),
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

    fn normalise(&mut self) {
        let deleted = self.past.deleted;
        self.past.change(|past| {
            past.moved.take_if(|moved| moved.over != deleted);
            past.ended.take_if(|ended| ended.life <= deleted);
            past.origin.take_if(|r| r.life <= deleted);
        });
        self.last_touch.take_if(|last_touch| last_touch.life <= deleted);
        self.max_inactive.take_if(|r| r.life <= deleted);
        self.route.take_if(|r| r.life <= deleted);
        self.attributes.forget_until(deleted);
    }

    /// Forgets what a session that was found idle held. Should a use turn up that was later, whoever knows of it
    /// has the rest as well; the session is then incomplete here until that arrives.
    pub fn shed(&mut self) {
        if self.is_over() {
            *self = Self {
                past: self.deadlines(),
                ..Self::default()
            };
        }
    }

    /// The current life: the greatest creation any part belongs to; `None` when there is no session.
    #[must_use]
    pub fn life(&self) -> Option<Stamp> {
        self.last_touch.map(|last_touch| last_touch.life)
    }

    /// Whether it says nothing but that its session was used.
    #[must_use]
    pub fn is_touch_only(&self) -> bool {
        *self
            == Self {
                last_touch: self.last_touch,
                ..Self::default()
            }
    }

    /// Whether it was found idle and no later use is known.
    fn is_over(&self) -> bool {
        self.past
            .ended
            .is_some_and(|ended| Some(ended) >= self.last_touch)
    }

    /// Whether there is a session, as opposed to a tombstone or nothing.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.last_touch.is_some() && !self.is_over()
    }

    /// Whether the write that created it, and with it everything of the same moment, is there: other parts may
    /// arrive before it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.max_inactive.is_some() || self.last_touch.is_none()
    }

    /// When it ends if nobody uses it, in milliseconds since 1970; `None` when it does not. A part of a session
    /// that arrived before the rest counts as having the idle lifetime `default`.
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

    /// The greatest stamp in the record: its version. Uses are not versions.
    #[must_use]
    pub fn version(&self) -> Stamp {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.stamp),
            self.route.as_ref().map(|r| r.stamp),
            self.past.origin.as_ref().map(|r| r.stamp),
        ];
        meta.into_iter()
            .flatten()
            .chain(self.attributes.registers().map(|r| r.stamp))
            .fold(self.past.deleted, Stamp::max)
    }

    /// The latest moment of any kind, which a clock must have observed before it writes after this record.
    #[must_use]
    pub fn latest(&self) -> Stamp {
        let uses = [self.last_touch, self.past.ended].into_iter().flatten();
        uses.map(|last_touch| last_touch.life.max(Stamp::at(last_touch.at_ms)))
            .chain(self.life())
            .fold(self.version(), Stamp::max)
    }

    /// About how many bytes the record costs: names and values, and a flat sum for each.
    #[must_use]
    pub fn size(&self) -> usize {
        FLAT + self
            .attributes
            .iter()
            .map(|(name, r)| attribute_size(name, r))
            .sum::<usize>()
    }

    /// The bytes of its names and values.
    #[must_use]
    pub fn said(&self) -> usize {
        let attribute = |(name, r): (&Arc<str>, &Register<Attribute>)| attribute_size(name, r) - ATTRIBUTE;
        self.attributes.iter().map(attribute).sum()
    }

    /// What it would hold if `delta` were joined: attributes with a value, names, and bytes as in [`Self::size`].
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

    /// A number two live records share if, and but for a chance in 2^64 only if, they are of the same life and hold
    /// the same writes. When it was used last does not count: nodes keep that to themselves for a while. Of a session
    /// that is over it is zero, because nodes forget tombstones at their own pace.
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
        if let Some(r) = &self.past.origin {
            add("\0origin", r.stamp);
        }
        for (name, r) in self.attributes.iter() {
            add(name, r.stamp);
        }
        sum
    }
}

/// What a record costs without attributes, and an attribute without its name and value.
const FLAT: usize = 320;
const ATTRIBUTE: usize = 112;

fn attribute_size(name: &str, register: &Register<Attribute>) -> usize {
    ATTRIBUTE + name.len() + register.value.as_ref().map_or(0, |value| value.len())
}

/// Raises a use to a later one of a life that goes on; says whether it was raised.
fn raise(mine: &mut Option<Touch>, theirs: Option<Touch>, deleted: Stamp) -> bool {
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
