//! A view of records for the checks. Only this file knows the shape of a record.

use limpet_core::session::{Lifecycle, Record, Stamp, Value};

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

/// Whether a life that began later, elsewhere, took the place of this one: lives are joined, and the last touch of the
/// later one counts.
pub fn was_overtaken(record: &Record, life: Stamp) -> bool {
    record.life().max(record.lifecycle.expired.map(|last| last.life)) > Some(life)
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
                renamed_from: lifecycle.renamed_from.take(),
                ..Lifecycle::default()
            };
        });
        record
    };
    plain(a) == plain(b)
}
