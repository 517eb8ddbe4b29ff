//! Records as bytes: deltas and chunks of tables, a few bytes more than what they say.
//!
//! ```text
//! records   count, then each: flags [more] app id [attributes] [life stamp] [parts ...] [attribute ...]
//! flags     1 the app is the first word        8 one attribute, plain, with a value
//!           2 life and stamp are of the        16 life and stamp are the same
//!             first node                       32 `more` follows
//!           4 it was used at its stamp
//! more      1 deleted  2 moved  4 ended  8 used  16 idle lifetime  32 route  64 origin
//! ```
//! A record has one *life* and one *stamp*, those of its first register; a register that has the same says nothing of
//! them. A part added later takes the next bit of `more`.

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::compact::{Malformed, Reader, StampsIn, StampsOut, WordsIn, WordsOut, bytes, difference, number};
use crate::base::id::SessionKey;
use crate::session::{Attribute, Endings, Moved, Record, Register, Stamp, Touch};

/// The most records one message carries; one with more is no message of ours.
const RECORDS_MAX: usize = 1 << 16;

const FIRST_APP: u8 = 1;
const FIRST_NODE: u8 = 2;
const USED_THEN: u8 = 4;
const ONE: u8 = 8;
const BEGINS: u8 = 16;
const MORE: u8 = 32;

const DELETED: u8 = 1;
const MOVED: u8 = 2;
const ENDED: u8 = 4;
const USED: u8 = 8;
const IDLE: u8 = 16;
const ROUTE: u8 = 32;
const ORIGIN: u8 = 64;

/// A register of the record's life and stamp; of its life alone; of neither. Four more for an attribute removed.
const PLAIN: u8 = 0;
const STAMPED: u8 = 1;
const FOREIGN: u8 = 2;
const REMOVED: u8 = 4;

/// An id of up to this many bytes is written after its length; see [`write_id`].
const RAW: u8 = 0x7f;
const UPPER: u8 = 0x80;
const LOWER: u8 = 0xc0;
const LONG: u8 = 0xff;
const PAIRS_MAX: usize = 0x3e;

/// The life and stamp a record's registers have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Common {
    life: Stamp,
    stamp: Stamp,
}

impl Common {
    fn of<T>(register: &Register<T>) -> Self {
        Self {
            life: register.life,
            stamp: register.stamp,
        }
    }

    fn of_record(record: &Record) -> Option<Self> {
        let attribute = record.attributes.registers().next().map(Self::of);
        attribute
            .or_else(|| record.max_inactive.as_ref().map(Self::of))
            .or_else(|| record.route.as_ref().map(Self::of))
            .or_else(|| record.past.origin.as_ref().map(Self::of))
    }

    /// The use that needs no words.
    const fn last_touch(self) -> Touch {
        Touch {
            life: self.life,
            at_ms: self.stamp.wall_ms(),
        }
    }
}

/// Appends `records`.
pub(super) fn write<'a>(
    records: impl ExactSizeIterator<Item = (&'a SessionKey, &'a Record)>,
    into: &mut Vec<u8>,
) {
    number(records.len() as u64, into);
    let mut writer = Writer {
        apps: WordsOut::default(),
        words: WordsOut::default(),
        stamps: StampsOut::default(),
        into,
    };
    records.for_each(|(key, record)| writer.record(key, record));
}

struct Writer<'a, 'b> {
    apps: WordsOut<'a>,
    words: WordsOut<'a>,
    stamps: StampsOut,
    into: &'b mut Vec<u8>,
}

impl<'a> Writer<'a, '_> {
    fn record(&mut self, key: &'a SessionKey, record: &'a Record) {
        let common = Common::of_record(record);
        let used_then = record.last_touch.is_some() && record.last_touch == common.map(Common::last_touch);
        let plain = |r: &Register<Attribute>| Some(Common::of(r)) == common && r.value.is_some();
        let one = record.attributes.len() == 1 && record.attributes.registers().all(plain);
        let first_node =
            common.is_some_and(|c| self.stamps.is_first(c.life) && self.stamps.is_first(c.stamp));
        let parts = [
            (DELETED, record.past.deleted != Stamp::ZERO),
            (MOVED, record.past.moved.is_some()),
            (ENDED, record.past.ended.is_some()),
            (USED, record.last_touch.is_some() && !used_then),
            (IDLE, record.max_inactive.is_some()),
            (ROUTE, record.route.is_some()),
            (ORIGIN, record.past.origin.is_some()),
        ];
        let more = flags(parts);
        self.into.push(flags([
            (FIRST_APP, self.apps.is_first(key.app())),
            (FIRST_NODE, first_node),
            (USED_THEN, used_then),
            (ONE, one),
            (BEGINS, common.is_some_and(|c| c.life == c.stamp)),
            (MORE, more != 0),
        ]));
        if more != 0 {
            self.into.push(more);
        }
        if !self.apps.is_first(key.app()) {
            self.apps.write(key.app(), self.into);
        }
        write_id(key.id(), self.into);
        if !one {
            number(record.attributes.len() as u64, self.into);
        }
        if let Some(common) = common {
            self.stamps.write(common.stamp, first_node, self.into);
            if common.life != common.stamp {
                let ms = common.stamp.wall_ms();
                self.stamps.write_near(common.life, ms, first_node, self.into);
            }
        }
        self.parts(record, common, used_then);
        for (name, register) in record.attributes.iter() {
            self.words.write(name, self.into);
            if !one {
                let removed = if register.value.is_none() { REMOVED } else { 0 };
                self.head(register, common, removed);
            }
            if let Some(value) = &register.value {
                bytes(value, self.into);
            }
        }
    }

    fn parts(&mut self, record: &'a Record, common: Option<Common>, used_then: bool) {
        if record.past.deleted != Stamp::ZERO {
            self.stamps.write(record.past.deleted, false, self.into);
        }
        if let Some(moved) = &record.past.moved {
            bytes(moved.to.as_bytes(), self.into);
        }
        if let Some(ended) = &record.past.ended {
            self.last_touch(*ended);
        }
        if let Some(last_touch) = record.last_touch.filter(|_| !used_then) {
            self.last_touch(last_touch);
        }
        if let Some(idle) = &record.max_inactive {
            self.head(idle, common, 0);
            match idle.value {
                IdleLimit::Forever => self.into.push(0),
                IdleLimit::Millis(ms) => {
                    self.into.push(1);
                    number(ms, self.into);
                }
            }
        }
        if let Some(route) = &record.route {
            self.head(route, common, 0);
            self.words.write(&route.value, self.into);
        }
        if let Some(origin) = &record.past.origin {
            self.head(origin, common, 0);
            bytes(origin.value.as_bytes(), self.into);
        }
    }

    fn last_touch(&mut self, last_touch: Touch) {
        self.stamps.write(last_touch.life, false, self.into);
        difference(last_touch.at_ms, last_touch.life.wall_ms(), self.into);
    }

    /// In what the register differs from the others of its record.
    fn head<T>(&mut self, register: &Register<T>, common: Option<Common>, kind: u8) {
        let own = Common::of(register);
        if Some(own) == common {
            self.into.push(kind | PLAIN);
            return;
        }
        let foreign = common.is_none_or(|common| common.life != own.life);
        self.into.push(kind | if foreign { FOREIGN } else { STAMPED });
        self.stamps.write(own.stamp, false, self.into);
        if foreign {
            self.stamps.write(own.life, false, self.into);
        }
    }
}

fn flags<const N: usize>(parts: [(u8, bool); N]) -> u8 {
    let set = parts.into_iter().filter(|(_, set)| *set);
    set.fold(0, |all, (bit, _)| all | bit)
}

/// Appends an id. Most are hexadecimal numbers of one case, which take half the bytes.
fn write_id(id: &str, into: &mut Vec<u8>) {
    let text = id.as_bytes();
    let pairs = text.len() / 2;
    let kind = [(UPPER, b'A'..=b'F'), (LOWER, b'a'..=b'f')]
        .into_iter()
        .find(|(_, letters)| {
            let digit = |b: &u8| b.is_ascii_digit() || letters.contains(b);
            text.len().is_multiple_of(2) && (1..=PAIRS_MAX).contains(&pairs) && text.iter().all(digit)
        });
    match kind {
        Some((kind, _)) => {
            into.push(kind | u8::try_from(pairs).unwrap_or(0));
            let half = |b: u8| {
                if b.is_ascii_digit() {
                    b - b'0'
                } else {
                    (b | 0x20) - b'a' + 10
                }
            };
            let (halves, _) = text.as_chunks::<2>();
            into.extend(halves.iter().map(|[high, low]| half(*high) << 4 | half(*low)));
        }
        None => {
            match u8::try_from(text.len()) {
                Ok(len @ 0..=RAW) => into.push(len),
                _ => {
                    into.push(LONG);
                    number(text.len() as u64, into);
                }
            }
            into.extend_from_slice(text);
        }
    }
}

fn read_id(from: &mut Reader) -> Result<Arc<str>, Malformed> {
    let head = from.byte()?;
    let len = match head {
        0..=RAW => usize::from(head),
        LONG => from.count()?,
        _ => {
            let letters = if head < LOWER {
                b"0123456789ABCDEF"
            } else {
                b"0123456789abcdef"
            };
            let packed = from.take(usize::from(head & 0x3f))?;
            let mut text = String::with_capacity(2 * packed.len());
            for byte in packed {
                for half in [byte >> 4, byte & 15] {
                    text.extend(letters.get(usize::from(half)).map(|letter| char::from(*letter)));
                }
            }
            return Ok(text.into());
        }
    };
    let text = std::str::from_utf8(from.take(len)?);
    text.map(Arc::from).map_err(|_| "an id that is no UTF-8")
}

/// Reads what [`write`] wrote. What a peer sends is in normal form afterwards, whatever it sent.
pub(super) fn read(from: &mut Reader) -> Result<Vec<(SessionKey, Record)>, Malformed> {
    let count = from.count()?;
    if count > RECORDS_MAX {
        return Err("too many records");
    }
    // A record takes three bytes at least; what is not there is not believed.
    let mut records = Vec::with_capacity(count.min(from.len() / 3));
    let mut reader = RecordReader {
        apps: WordsIn::default(),
        words: WordsIn::default(),
        stamps: StampsIn::default(),
        from,
    };
    for _ in 0..count {
        records.push(reader.record()?);
    }
    Ok(records)
}

struct RecordReader<'a, 'b> {
    apps: WordsIn,
    words: WordsIn,
    stamps: StampsIn,
    from: &'b mut Reader<'a>,
}

impl RecordReader<'_, '_> {
    fn record(&mut self) -> Result<(SessionKey, Record), Malformed> {
        let flags = self.from.byte()?;
        let more = if flags & MORE == 0 { 0 } else { self.from.byte()? };
        if flags > (MORE << 1) - 1 || more > (ORIGIN << 1) - 1 {
            return Err("a part of a record this version does not know");
        }
        let app = if flags & FIRST_APP == 0 {
            self.apps.read(self.from)?
        } else {
            self.apps.at(0)?
        };
        let id = read_id(self.from)?;
        let key = SessionKey::received(&app, &id).ok_or("not a session key")?;
        let one = flags & ONE != 0;
        let attributes = if one { 1 } else { self.from.count()? };
        let has_registers = attributes > 0 || more & (IDLE | ROUTE | ORIGIN) != 0;
        let common = if has_registers {
            Some(self.common(flags)?)
        } else {
            None
        };
        let mut record = self.parts(more, common)?;
        if flags & USED_THEN != 0 {
            record.last_touch = common.map(Common::last_touch);
        }
        for _ in 0..attributes {
            let name = self.words.read(self.from)?;
            let head = if one { PLAIN } else { self.from.byte()? };
            let own = self.head(head & !REMOVED, common)?;
            let value = if head & REMOVED == 0 {
                Some(self.from.bytes()?.into())
            } else {
                None
            };
            record.attributes.insert(name, register(own, value));
        }
        Ok((key, normal(record)))
    }

    fn common(&mut self, flags: u8) -> Result<Common, Malformed> {
        let first_node = flags & FIRST_NODE != 0;
        let stamp = self.stamps.read(first_node, self.from)?;
        let life = if flags & BEGINS == 0 {
            self.stamps.read_near(stamp.wall_ms(), first_node, self.from)?
        } else {
            stamp
        };
        Ok(Common { life, stamp })
    }

    fn parts(&mut self, more: u8, common: Option<Common>) -> Result<Record, Malformed> {
        let (mut record, mut past) = (Record::default(), Endings::default());
        if more & DELETED != 0 {
            past.deleted = self.stamps.read(false, self.from)?;
        }
        if more & MOVED != 0 {
            let (over, to) = (past.deleted, self.from.text()?.into());
            past.moved = Some(Moved { over, to });
        }
        if more & ENDED != 0 {
            past.ended = Some(self.last_touch()?);
        }
        if more & USED != 0 {
            record.last_touch = Some(self.last_touch()?);
        }
        if more & IDLE != 0 {
            let own = self.own(common)?;
            let value = match self.from.byte()? {
                0 => IdleLimit::Forever,
                1 => IdleLimit::Millis(self.from.number()?),
                _ => return Err("an idle lifetime that is none"),
            };
            record.max_inactive = Some(register(own, value));
        }
        if more & ROUTE != 0 {
            let own = self.own(common)?;
            record.route = Some(register(own, self.words.read(self.from)?));
        }
        if more & ORIGIN != 0 {
            let own = self.own(common)?;
            past.origin = Some(register(own, self.from.text()?.into()));
        }
        record.past = past.into();
        Ok(record)
    }

    fn last_touch(&mut self) -> Result<Touch, Malformed> {
        let life = self.stamps.read(false, self.from)?;
        let at_ms = self.from.difference(life.wall_ms())?;
        Ok(Touch { life, at_ms })
    }

    fn own(&mut self, common: Option<Common>) -> Result<Common, Malformed> {
        let head = self.from.byte()?;
        self.head(head, common)
    }

    fn head(&mut self, head: u8, common: Option<Common>) -> Result<Common, Malformed> {
        let common = common.ok_or("a register of no life")?;
        match head {
            PLAIN => Ok(common),
            STAMPED => Ok(Common {
                stamp: self.stamps.read(false, self.from)?,
                ..common
            }),
            FOREIGN => {
                let stamp = self.stamps.read(false, self.from)?;
                let life = self.stamps.read(false, self.from)?;
                Ok(Common { life, stamp })
            }
            _ => Err("a register of no kind"),
        }
    }
}

fn register<T>(Common { life, stamp }: Common, value: T) -> Register<T> {
    Register { life, stamp, value }
}

/// The record as a join would have left it.
fn normal(record: Record) -> Record {
    let meta = [
        record.past.ended.as_ref().map(|last_touch| last_touch.life),
        record.last_touch.map(|last_touch| last_touch.life),
        record.max_inactive.as_ref().map(|r| r.life),
        record.route.as_ref().map(|r| r.life),
        record.past.origin.as_ref().map(|r| r.life),
    ];
    let attributes = record.attributes.registers().map(|r| r.life);
    let earliest = meta.into_iter().flatten().chain(attributes).min();
    if record.past.moved.is_none() && earliest.is_none_or(|life| life > record.past.deleted) {
        return record;
    }
    let mut joined = Record::tombstone(record.past.deleted);
    joined.join(&record);
    joined
}

#[cfg(test)]
mod tests;
