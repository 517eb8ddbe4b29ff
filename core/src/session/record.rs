//! A session with everything that ever decides about it, or a part of one: a delta.
//!
//! ```text
//! deleted        the greatest stamp of a deletion: every life up to it is over
//! touched        last use, in milliseconds since 1970
//! max_inactive   idle lifetime
//! route          the worker it is bound to
//! attributes     name → bytes, or removed
//! ```
//! Each is a maximum, so the whole is one too. **Normal form**: no register of a life that is over is kept; the
//! join restores it, and because lives decide before stamps, when it does so makes no difference.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use limpet_wire::report::IdleLimit;

use super::register::join_into;
use super::{Register, Stamp};

/// An attribute's value, or `None` once removed.
pub type Attribute = Option<Bytes>;

/// See the module page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Every life up to this stamp is over; [`Stamp::ZERO`] when none ever ended.
    pub deleted: Stamp,
    /// Last use.
    pub touched: Option<Register<u64>>,
    /// Idle lifetime.
    pub max_inactive: Option<Register<IdleLimit>>,
    /// The bound worker.
    pub route: Option<Register<Arc<str>>>,
    /// The attributes, removed ones included.
    pub attributes: BTreeMap<Arc<str>, Register<Attribute>>,
}

impl Record {
    /// A record that says only: every life up to `stamp` is over.
    #[must_use]
    pub fn tombstone(stamp: Stamp) -> Self {
        Self {
            deleted: stamp,
            ..Self::default()
        }
    }

    /// Joins `other` into this record; says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        if other.deleted > self.deleted {
            self.deleted = other.deleted;
            self.normalise();
            changed = true;
        }
        let deleted = self.deleted;
        changed |= join_into(&mut self.touched, other.touched.as_ref(), deleted);
        changed |= join_into(&mut self.max_inactive, other.max_inactive.as_ref(), deleted);
        changed |= join_into(&mut self.route, other.route.as_ref(), deleted);
        for (name, theirs) in &other.attributes {
            if theirs.life <= deleted {
                continue;
            }
            match self.attributes.get_mut(name) {
                Some(mine) if !theirs.beats(mine) => continue,
                Some(mine) => *mine = theirs.clone(),
                None => {
                    self.attributes.insert(name.clone(), theirs.clone());
                }
            }
            changed = true;
        }
        changed
    }

    fn normalise(&mut self) {
        let deleted = self.deleted;
        self.touched.take_if(|r| r.life <= deleted);
        self.max_inactive.take_if(|r| r.life <= deleted);
        self.route.take_if(|r| r.life <= deleted);
        self.attributes.retain(|_, r| r.life > deleted);
    }

    /// The current life: the greatest creation any register belongs to; `None` when the session is over.
    #[must_use]
    pub fn life(&self) -> Option<Stamp> {
        let meta = [
            self.touched.as_ref().map(|r| r.life),
            self.max_inactive.as_ref().map(|r| r.life),
            self.route.as_ref().map(|r| r.life),
        ];
        meta.into_iter()
            .flatten()
            .chain(self.attributes.values().map(|r| r.life))
            .max()
    }

    /// Whether there is a session, as opposed to a tombstone or nothing.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.touched.is_some()
            || self.max_inactive.is_some()
            || self.route.is_some()
            || !self.attributes.is_empty()
    }

    /// Whether the write that created it, and with it everything of the same moment, is there: other parts may
    /// arrive before it.
    #[must_use]
    pub const fn has_beginning(&self) -> bool {
        self.max_inactive.is_some()
    }

    /// When it ends if nobody uses it, in milliseconds since 1970; `None` when it does not. A part of a session
    /// that arrived before the rest counts as having the idle lifetime `default` and as used when it began.
    #[must_use]
    pub fn expires_ms(&self, default: IdleLimit) -> Option<u64> {
        let IdleLimit::Millis(idle) = self.max_inactive.as_ref().map_or(default, |r| r.value) else {
            return None;
        };
        let used = self
            .touched
            .as_ref()
            .map(|r| r.value)
            .or_else(|| Some(self.life()?.wall_ms()))?;
        Some(used.saturating_add(idle))
    }

    /// The attributes that have a value.
    pub fn values(&self) -> impl Iterator<Item = (&Arc<str>, &Bytes)> {
        self.attributes
            .iter()
            .filter_map(|(name, r)| Some((name, r.value.as_ref()?)))
    }

    /// The greatest stamp in the record: its version.
    #[must_use]
    pub fn version(&self) -> Stamp {
        self.stamps().max().unwrap_or_default().max(self.deleted)
    }

    /// Every stamp that says something about the record, lives and deletion apart.
    fn stamps(&self) -> impl Iterator<Item = Stamp> {
        let meta = [
            self.touched.as_ref().map(|r| r.stamp),
            self.max_inactive.as_ref().map(|r| r.stamp),
            self.route.as_ref().map(|r| r.stamp),
        ];
        meta.into_iter()
            .flatten()
            .chain(self.attributes.values().map(|r| r.stamp))
    }

    /// The latest stamp of any kind, which a clock must have observed before it writes after this record.
    #[must_use]
    pub fn latest(&self) -> Stamp {
        self.version().max(self.life().unwrap_or_default())
    }

    /// About how many bytes the record costs: names and values, and a flat sum for each register.
    #[must_use]
    pub fn size(&self) -> usize {
        const FLAT: usize = 96;
        let attributes = self
            .attributes
            .iter()
            .map(|(name, r)| FLAT + name.len() + r.value.as_ref().map_or(0, Bytes::len))
            .sum::<usize>();
        FLAT + attributes
    }

    /// A number two live records share if, and but for a chance in 2^64 only if, they are of the same life and hold
    /// the same writes. When it was used last does not count: nodes keep that to themselves for a while. Of a session
    /// that is over it is zero, because nodes forget tombstones at their own pace.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let Some(life) = self.life() else { return 0 };
        let mut sum = mix("\0life", life);
        let mut add = |kind: &str, stamp: Stamp| sum ^= mix(kind, stamp);
        if let Some(r) = &self.max_inactive {
            add("\0idle", r.stamp);
        }
        if let Some(r) = &self.route {
            add("\0route", r.stamp);
        }
        for (name, r) in &self.attributes {
            add(name, r.stamp);
        }
        sum
    }
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
            let value = (stamp.time % 3 != 0).then(|| Bytes::from(format!("{life:?}{stamp:?}")));
            Register { life, stamp, value }
        })
    }

    fn records() -> impl Strategy<Value = Record> {
        let attributes = prop::collection::btree_map("[a-c]".prop_map(Arc::from), registers(), 0..3);
        let deleted = prop_oneof![2 => Just(Stamp::ZERO), 1 => stamps()];
        (deleted, attributes, prop::option::of(registers())).prop_map(|(deleted, attributes, touch)| {
            let mut record = Record::tombstone(deleted);
            let touched = touch.map(|r| Register {
                life: r.life,
                stamp: r.stamp,
                value: r.stamp.time + r.stamp.node,
            });
            record.join(&Record {
                attributes,
                touched,
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
            for register in after.attributes.values() {
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
            let value = Some(Bytes::from(name.to_owned()));
            let attributes = BTreeMap::from([(
                Arc::from(name),
                Register {
                    life: stamp,
                    stamp,
                    value,
                },
            )]);
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
}
