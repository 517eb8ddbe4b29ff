//! A view of records for the checks. Only this file knows the shape of a record.

use limpet_core::base::id::SessionKey;
use limpet_core::session::{Fate, Lifecycle, Origin, Record, Register, Stamp, Value};
use limpet_core::store::Memory;

/// What decides between two values of an attribute: the later life, then the later write.
pub type Rank = (Stamp, Stamp);

/// The rank and the value of an attribute, removed ones included.
pub fn attribute<'a>(record: &'a Record, name: &str) -> Option<(Rank, Option<&'a Value>)> {
    attributes(record)
        .find(|(known, ..)| *known == name)
        .map(|(_, rank, value)| (rank, value))
}

/// Every attribute, removed ones included.
pub fn attributes(record: &Record) -> impl Iterator<Item = (&str, Rank, Option<&Value>)> {
    record
        .attributes
        .iter()
        .map(|(name, register)| (&**name, (register.life, register.stamp), register.value.as_ref()))
}

/// Where a life of an id went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The id under which it goes on, or did when it was deleted.
    pub key: SessionKey,
    /// What it is called there.
    pub life: Stamp,
    /// When it was deleted.
    pub ended: Option<Stamp>,
    /// Whether it was given an old id back on the way. Should others have had that meanwhile, it is deleted.
    pub back: bool,
}

impl Trail {
    /// Whether it is over, as `table` says.
    pub fn is_over(&self, table: &Memory) -> bool {
        let record = table.get(&self.key);
        self.ended.is_some() || record.is_some_and(|record| is_over(record, self.life))
    }
}

/// How often in a row a session may have been renamed and still be followed.
const HOPS: usize = 200;

/// Where `life` of `key` went, as a node's table says.
pub fn follow(table: &Memory, key: &SessionKey, life: Stamp) -> Trail {
    follow_in(&[table], key, life)
}

/// The same, as the tables of several nodes say together.
pub fn follow_in(tables: &[&Memory], key: &SessionKey, life: Stamp) -> Trail {
    let mut trail = Trail {
        key: key.clone(),
        life,
        ended: None,
        back: false,
    };
    for _ in 0..HOPS {
        let known = tables.iter().filter_map(|table| table.get(&trail.key));
        match known
            .filter_map(|record| record.lifecycle.fates.get(trail.life))
            .max()
        {
            Some(Fate::Renamed(renamed)) => {
                trail.back |= trail.life == renamed.at;
                trail.key = SessionKey::new(key.app(), &renamed.to);
                trail.life = renamed.at;
            }
            Some(Fate::Ended(at)) => {
                trail.ended = Some(*at);
                break;
            }
            None => break,
        }
    }
    trail
}

/// The lives that left an id other than by its tombstone, each with the life its session was created with.
pub fn departed(record: &Record) -> impl Iterator<Item = (Stamp, Stamp)> {
    let fates = record.lifecycle.fates.iter();
    fates.map(|(life, fate)| (life, fate.renamed().map_or(life, |renamed| renamed.first)))
}

/// When a session left the ids it had before, as it says itself.
pub fn left_at(record: &Record) -> impl Iterator<Item = Stamp> {
    let origin = record.lifecycle.renamed_from.iter();
    origin.flat_map(|origin| {
        let left = origin.value.names.iter().filter_map(|name| name.left.as_ref());
        left.map(|left| left.at).chain([origin.life])
    })
}

/// When the session of an id was given that.
pub fn renamed_at(record: &Record) -> Option<Stamp> {
    record.lifecycle.renamed_from.as_ref().map(|origin| origin.life)
}

/// Whether a life left an id.
pub fn has_left(record: &Record, life: Stamp) -> bool {
    record.lifecycle.is_over(life)
}

/// Whether a life left an id for another one.
pub fn went_on(record: &Record, life: Stamp) -> bool {
    let fate = record.lifecycle.fates.get(life);
    fate.is_some_and(|fate| fate.renamed().is_some())
}

/// Every life up to this one was deleted.
pub fn deleted(record: &Record) -> Stamp {
    record.lifecycle.deleted
}

/// Whether this life is over, by this record: deleted, or expired and not refuted since.
pub fn is_over(record: &Record, life: Stamp) -> bool {
    let goes_on = record.is_alive() && record.life() == record.lifecycle.expired.map(|last| last.life);
    record.lifecycle.deleted >= life
        || !goes_on && record.lifecycle.expired.is_some_and(|last| last.life >= life)
}

/// The life that expired last, be that refuted or not.
pub fn expired(record: &Record) -> Option<Stamp> {
    record.lifecycle.expired.map(|last| last.life)
}

/// Whether it expired in this life and its attributes were dropped, though the expiry was refuted since.
pub fn was_shed(record: &Record, life: Stamp) -> bool {
    record.lifecycle.expired.is_some_and(|last| last.life >= life) && !record.is_complete()
}

/// Whether the two are the same but for touches, which nodes keep to themselves for a while.
pub fn same_but_touches(a: &Record, b: &Record) -> bool {
    let plain = |record: &Record| {
        let mut record = record.clone();
        record.last_touch = None;
        // Nodes forget what is over at their own pace.
        record.lifecycle.change(|lifecycle| {
            *lifecycle = Lifecycle {
                renamed_from: lifecycle.renamed_from.take().map(without_id),
                ..Lifecycle::default()
            };
        });
        record
    };
    plain(a) == plain(b)
}

/// The origin of a session but for which of its ids it had last: where one was given an id back, two ids lead to it, and a
/// node notes the one it heard of first.
fn without_id(mut origin: Box<Register<Origin>>) -> Box<Register<Origin>> {
    origin.value.id = "".into();
    origin.value.names.clear();
    origin
}
