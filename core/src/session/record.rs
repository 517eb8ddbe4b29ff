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
use super::{Attribute, Attributes, Endings, Moved, Past, Register, Stamp, Used, Value};

/// See the module page. There are many of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// How lives of it ended, and which id it had before.
    pub past: Past,
    /// Last use.
    pub used: Option<Used>,
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
    pub fn idle_since(last: Used) -> Self {
        Self::of_past(Endings {
            ended: Some(last),
            ..Endings::default()
        })
    }

    /// A record that says only: it was used.
    #[must_use]
    pub fn use_of(used: Used) -> Self {
        Self {
            used: Some(used),
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
    pub fn whereabouts(&self) -> Self {
        Self {
            past: self.ends(),
            route: self.route.clone(),
            ..Self::default()
        }
    }

    /// Its past but for the id it had before.
    fn ends(&self) -> Past {
        let mut ends = self.past.clone();
        ends.change(|past| past.origin = None);
        ends
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
        changed |= raise(&mut self.used, other.used.max(other.begun()), deleted);
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
    fn begun(&self) -> Option<Used> {
        let meta = [
            self.max_inactive.as_ref().map(|r| r.life),
            self.route.as_ref().map(|r| r.life),
            self.past.origin.as_ref().map(|r| r.life),
        ];
        let lives = meta
            .into_iter()
            .flatten()
            .chain(self.attributes.registers().map(|r| r.life));
        lives.max().map(|life| Used {
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
        self.used.take_if(|used| used.life <= deleted);
        self.max_inactive.take_if(|r| r.life <= deleted);
        self.route.take_if(|r| r.life <= deleted);
        self.attributes.forget_until(deleted);
    }

    /// Forgets what a session that was found idle held. Should a use turn up that was later, whoever knows of it
    /// has the rest as well; the session is then incomplete here until that arrives.
    pub fn shed(&mut self) {
        if self.is_over() {
            *self = Self {
                past: self.ends(),
                ..Self::default()
            };
        }
    }

    /// The current life: the greatest creation any part belongs to; `None` when there is no session.
    #[must_use]
    pub fn life(&self) -> Option<Stamp> {
        self.used.map(|used| used.life)
    }

    /// Whether it says nothing but that its session was used.
    #[must_use]
    pub fn is_only_use(&self) -> bool {
        *self
            == Self {
                used: self.used,
                ..Self::default()
            }
    }

    /// Whether it was found idle and no later use is known.
    fn is_over(&self) -> bool {
        self.past.ended.is_some_and(|ended| Some(ended) >= self.used)
    }

    /// Whether there is a session, as opposed to a tombstone or nothing.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.used.is_some() && !self.is_over()
    }

    /// Whether the write that created it, and with it everything of the same moment, is there: other parts may
    /// arrive before it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.max_inactive.is_some() || self.used.is_none()
    }

    /// When it ends if nobody uses it, in milliseconds since 1970; `None` when it does not. A part of a session
    /// that arrived before the rest counts as having the idle lifetime `default`.
    #[must_use]
    pub fn expires_ms(&self, default: IdleLimit) -> Option<u64> {
        let IdleLimit::Millis(idle) = self.max_inactive.as_ref().map_or(default, |r| r.value) else {
            return None;
        };
        Some(self.used?.at_ms.saturating_add(idle))
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
        let uses = [self.used, self.past.ended].into_iter().flatten();
        uses.map(|used| used.life.max(Stamp::at(used.at_ms)))
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
fn raise(mine: &mut Option<Used>, theirs: Option<Used>, deleted: Stamp) -> bool {
    let later = theirs.filter(|used| used.life > deleted && Some(*used) > *mine);
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamps() -> impl Strategy<Value = Stamp> {
        (1_u64..6, 1_u64..3).prop_map(|(time, node)| Stamp { time, node })
    }

    /// A register whose value follows from its stamp, as in life: one write has one value.
    fn registers() -> impl Strategy<Value = Register<Attribute>> {
        (stamps(), stamps()).prop_map(|(a, b)| {
            let (life, stamp) = (a.min(b), a.max(b));
            let value = (stamp.time % 3 != 0).then(|| format!("{life:?}{stamp:?}").into_bytes().into());
            Register { life, stamp, value }
        })
    }

    fn records() -> impl Strategy<Value = Record> {
        let attributes = prop::collection::btree_map("[a-c]".prop_map(Arc::from), registers(), 0..3);
        let deleted = prop_oneof![2 => Just(Stamp::ZERO), 1 => stamps()];
        let touch = prop::option::of(registers());
        let end = prop::option::of(registers());
        let over = prop::option::of(stamps());
        (deleted, attributes, touch, end, over).prop_map(|(deleted, attributes, touch, end, over)| {
            let mut record = Record::tombstone(deleted);
            let attributes = attributes.into_iter().collect();
            let uses = |r: &Register<Attribute>| Used {
                life: r.life,
                at_ms: r.stamp.time,
            };
            record.join(&Record {
                attributes,
                used: touch.as_ref().map(uses),
                past: Past::from(Endings {
                    ended: end.as_ref().map(uses),
                    moved: over.map(|over| Moved {
                        over,
                        to: "new".into(),
                    }),
                    ..Endings::default()
                }),
                ..Record::default()
            });
            record
        })
    }

    fn joined(a: &Record, b: &Record) -> Record {
        let mut a = a.clone();
        a.join(b);
        a
    }

    proptest! {
        #[test]
        fn join_is_commutative(a in records(), b in records()) {
            prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        }

        #[test]
        fn join_is_associative(a in records(), b in records(), c in records()) {
            prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        }

        #[test]
        fn join_is_idempotent(a in records(), b in records()) {
            let mut once = joined(&a, &b);
            let twice = once.clone();
            prop_assert!(!once.join(&b));
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn nothing_of_a_deleted_life_returns(a in records(), late in records()) {
            let end = a.latest();
            let after = joined(&joined(&a, &Record::tombstone(end)), &late);
            for register in after.attributes.registers() {
                prop_assert!(register.life > end);
            }
        }

        #[test]
        fn equal_records_have_equal_digests(a in records(), b in records()) {
            prop_assert_eq!(joined(&a, &b).digest(), joined(&b, &a).digest());
        }
    }

    #[test]
    fn writes_to_different_attributes_of_concurrent_creations_both_survive() {
        let write = |name: &str, time| {
            let stamp = Stamp { time, node: time };
            let value = Some(name.as_bytes().into());
            let register = Register {
                life: stamp,
                stamp,
                value,
            };
            let attributes = Attributes::from_iter([(Arc::from(name), register)]);
            Record {
                attributes,
                ..Record::default()
            }
        };
        let both = joined(&write("a", 5), &write("b", 7));
        assert_eq!(
            both.values().map(|(name, _)| &**name).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    fn session(life: u64, used_ms: u64) -> Record {
        let life = Stamp { time: life, node: 1 };
        Record {
            max_inactive: Some(Register {
                life,
                stamp: life,
                value: IdleLimit::Millis(1000),
            }),
            ..Record::use_of(Used { life, at_ms: used_ms })
        }
    }

    #[test]
    fn a_use_that_was_not_known_to_who_called_it_idle_wins_in_any_order() {
        let known = session(1, 50);
        let idle = Record::idle_since(known.used.unwrap());
        let later = Record::use_of(Used {
            at_ms: 60,
            ..known.used.unwrap()
        });
        assert!(!joined(&known, &idle).is_alive());
        assert!(joined(&joined(&known, &idle), &later).is_alive());
        assert!(joined(&joined(&known, &later), &idle).is_alive());
    }

    #[test]
    fn a_session_that_was_shed_and_used_after_all_is_incomplete_until_the_rest_arrives() {
        let known = session(1, 50);
        let mut shed = joined(&known, &Record::idle_since(known.used.unwrap()));
        shed.shed();
        assert_eq!((shed.is_alive(), shed.used), (false, None));
        let later = joined(&known, &session(1, 60));
        shed.join(&Record::use_of(later.used.unwrap()));
        assert!(shed.is_alive() && !shed.is_complete());
        shed.join(&later);
        assert!(shed.is_alive() && shed.is_complete());
        assert_eq!(shed.digest(), later.digest());
    }

    #[test]
    fn a_deletion_is_final_whatever_was_used_later() {
        let mut record = session(1, 50);
        record.join(&Record::tombstone(Stamp { time: 2, node: 1 }));
        record.join(&session(1, 60));
        assert!(!record.is_alive());
    }

    #[test]
    fn a_later_end_under_the_old_id_forgets_where_it_went() {
        let mut old = Record::moved(Stamp { time: 3, node: 1 }, "new".into());
        old.join(&Record::tombstone(Stamp { time: 4, node: 1 }));
        assert_eq!(old.past.moved, None);
        old.join(&Record::moved(Stamp { time: 3, node: 1 }, "new".into()));
        assert_eq!(old.past.moved, None);
    }
}
