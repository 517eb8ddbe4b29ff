//! The encoding of records, in deltas and chunks of the table: a few bytes more than their contents.
//!
//! ```text
//! records   count, then each: flags [more] app id [attributes] [stamp [life]] [parts ...] [attribute ...]
//! flags     1 the app is the first word        8 a single attribute, plain, with a value
//!           2 life and stamp are of the        16 life and stamp are equal
//!             first node                       32 `more` follows
//!           4 the last touch is at the stamp
//! more      1 deleted  2 fates  4 expired  8 last touch  16 idle lifetime  32 route  64 renamed from
//! ```
//! A record has one *life* and one *stamp*, those of its first register; a register with the same two repeats
//! neither. A part that is added later takes the next bit of `more`. `docs/PROTOCOL.md` has the rest.
//!
//! What the parts mean is in [`crate::session::Record`].

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::message::PeerMisbehaved;
use super::primitives::{
    Reader, StampReader, StampWriter, WordReader, WordWriter, bytes, difference, number,
};
use crate::base::id::SessionKey;
use crate::session::{Attribute, Lifecycle, Record, Register, Stamp, Touch};

mod identity;

/// The most records in one message; a message that announces more is refused, and its link closed.
pub(super) const RECORDS_MAX: usize = 1 << 16;

const FIRST_APP: u8 = 1;
const FIRST_NODE: u8 = 2;
const TOUCHED_AT_STAMP: u8 = 4;
const SINGLE: u8 = 8;
const STAMP_IS_LIFE: u8 = 16;
const MORE: u8 = 32;

const DELETED: u8 = 1;
const FATES: u8 = 2;
const EXPIRED: u8 = 4;
const TOUCHED: u8 = 8;
const IDLE: u8 = 16;
const ROUTE: u8 = 32;
const RENAMED_FROM: u8 = 64;

/// Heads of registers: the record's life and stamp; its life and a stamp of their own; both of their own. Plus four for
/// an attribute that was removed.
const PLAIN: u8 = 0;
const OWN_STAMP: u8 = 1;
const OWN_LIFE: u8 = 2;
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
            .or_else(|| record.lifecycle.renamed_from.as_deref().map(Self::of))
    }

    /// The touch that is encoded as a flag alone.
    const fn touch(self) -> Touch {
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
        apps: WordWriter::default(),
        words: WordWriter::default(),
        stamps: StampWriter::default(),
        into,
    };
    records.for_each(|(key, record)| writer.record(key, record));
}

struct Writer<'a, 'b> {
    apps: WordWriter<'a>,
    words: WordWriter<'a>,
    stamps: StampWriter,
    into: &'b mut Vec<u8>,
}

impl<'a> Writer<'a, '_> {
    fn record(&mut self, key: &'a SessionKey, record: &'a Record) {
        let common = Common::of_record(record);
        let touched_at_stamp = record.last_touch.is_some() && record.last_touch == common.map(Common::touch);
        let plain = |r: &Register<Attribute>| Some(Common::of(r)) == common && r.value.is_some();
        let single = record.attributes.len() == 1 && record.attributes.registers().all(plain);
        let first_node =
            common.is_some_and(|c| self.stamps.is_first(c.life) && self.stamps.is_first(c.stamp));
        let parts = [
            (DELETED, record.lifecycle.deleted != Stamp::ZERO),
            (FATES, !record.lifecycle.fates.is_empty()),
            (EXPIRED, record.lifecycle.expired.is_some()),
            (TOUCHED, record.last_touch.is_some() && !touched_at_stamp),
            (IDLE, record.max_inactive.is_some()),
            (ROUTE, record.route.is_some()),
            (RENAMED_FROM, record.lifecycle.renamed_from.is_some()),
        ];
        let more = flags(parts);
        self.into.push(flags([
            (FIRST_APP, self.apps.is_first(key.app())),
            (FIRST_NODE, first_node),
            (TOUCHED_AT_STAMP, touched_at_stamp),
            (SINGLE, single),
            (STAMP_IS_LIFE, common.is_some_and(|c| c.life == c.stamp)),
            (MORE, more != 0),
        ]));
        if more != 0 {
            self.into.push(more);
        }
        if !self.apps.is_first(key.app()) {
            self.apps.write(key.app(), self.into);
        }
        write_id(key.id(), self.into);
        if !single {
            number(record.attributes.len() as u64, self.into);
        }
        if let Some(common) = common {
            self.stamps.write(common.stamp, first_node, self.into);
            if common.life != common.stamp {
                let ms = common.stamp.wall_ms();
                self.stamps.write_near(common.life, ms, first_node, self.into);
            }
        }
        self.parts(record, common, touched_at_stamp);
        for (name, register) in record.attributes.iter() {
            self.words.write(name, self.into);
            if !single {
                let removed = if register.value.is_none() { REMOVED } else { 0 };
                self.head(register, common, removed);
            }
            if let Some(value) = &register.value {
                bytes(value, self.into);
            }
        }
    }

    fn parts(&mut self, record: &'a Record, common: Option<Common>, touched_at_stamp: bool) {
        if record.lifecycle.deleted != Stamp::ZERO {
            self.stamps.write(record.lifecycle.deleted, false, self.into);
        }
        if !record.lifecycle.fates.is_empty() {
            self.fates(&record.lifecycle);
        }
        if let Some(expired) = record.lifecycle.expired {
            self.touch(expired);
        }
        if let Some(last_touch) = record.last_touch.filter(|_| !touched_at_stamp) {
            self.touch(last_touch);
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
        if let Some(origin) = &record.lifecycle.renamed_from {
            self.head(origin, common, 0);
            self.origin(&origin.value);
        }
    }

    fn touch(&mut self, touch: Touch) {
        self.stamps.write(touch.life, false, self.into);
        difference(touch.at_ms, touch.life.wall_ms(), self.into);
    }

    /// The head of a register: in what it differs from the first one of its record.
    fn head<T>(&mut self, register: &Register<T>, common: Option<Common>, kind: u8) {
        let own = Common::of(register);
        if Some(own) == common {
            self.into.push(kind | PLAIN);
            return;
        }
        let own_life = common.is_none_or(|common| common.life != own.life);
        self.into.push(kind | if own_life { OWN_LIFE } else { OWN_STAMP });
        self.stamps.write(own.stamp, false, self.into);
        if own_life {
            self.stamps.write(own.life, false, self.into);
        }
    }
}

fn flags<const N: usize>(parts: [(u8, bool); N]) -> u8 {
    let set = parts.into_iter().filter(|(_, set)| *set);
    set.fold(0, |all, (bit, _)| all | bit)
}

/// Appends an id. Most are hexadecimal in one case, which takes half the bytes.
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

fn read_id(from: &mut Reader) -> Result<Arc<str>, PeerMisbehaved> {
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
    text.map(Arc::from).map_err(|_| PeerMisbehaved::NotUtf8)
}

/// Reads what [`write`] wrote. The records are in normal form, whatever the peer sent.
pub(super) fn read(from: &mut Reader) -> Result<Vec<(SessionKey, Record)>, PeerMisbehaved> {
    let count = from.count()?;
    if count > RECORDS_MAX {
        return Err(PeerMisbehaved::TooManyRecords {
            found: count,
            max: RECORDS_MAX,
        });
    }
    // A record takes at least three bytes, so no more memory is taken than there can be records.
    let mut records = Vec::with_capacity(count.min(from.len() / 3));
    let mut reader = RecordReader {
        apps: WordReader::default(),
        words: WordReader::default(),
        stamps: StampReader::default(),
        from,
    };
    for _ in 0..count {
        records.push(reader.record()?);
    }
    Ok(records)
}

struct RecordReader<'a, 'b> {
    apps: WordReader,
    words: WordReader,
    stamps: StampReader,
    from: &'b mut Reader<'a>,
}

impl RecordReader<'_, '_> {
    fn record(&mut self) -> Result<(SessionKey, Record), PeerMisbehaved> {
        let flags = self.from.byte()?;
        let more = if flags & MORE == 0 { 0 } else { self.from.byte()? };
        if flags > (MORE << 1) - 1 || more > (RENAMED_FROM << 1) - 1 {
            return Err(PeerMisbehaved::UnknownRecordPart { flags, more });
        }
        let app = if flags & FIRST_APP == 0 {
            self.apps.read(self.from)?
        } else {
            self.apps.at(0)?
        };
        let id = read_id(self.from)?;
        let key = SessionKey::received(&app, &id).ok_or(PeerMisbehaved::BadSessionKey)?;
        let single = flags & SINGLE != 0;
        let attributes = if single { 1 } else { self.from.count()? };
        let has_registers = attributes > 0 || more & (IDLE | ROUTE | RENAMED_FROM) != 0;
        let common = if has_registers {
            Some(self.common(flags)?)
        } else {
            None
        };
        let mut record = self.parts(more, common)?;
        if flags & TOUCHED_AT_STAMP != 0 {
            record.last_touch = common.map(Common::touch);
        }
        for _ in 0..attributes {
            let name = self.words.read(self.from)?;
            let head = if single { PLAIN } else { self.from.byte()? };
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

    fn common(&mut self, flags: u8) -> Result<Common, PeerMisbehaved> {
        let first_node = flags & FIRST_NODE != 0;
        let stamp = self.stamps.read(first_node, self.from)?;
        let life = if flags & STAMP_IS_LIFE == 0 {
            self.stamps.read_near(stamp.wall_ms(), first_node, self.from)?
        } else {
            stamp
        };
        Ok(Common { life, stamp })
    }

    fn parts(&mut self, more: u8, common: Option<Common>) -> Result<Record, PeerMisbehaved> {
        let (mut record, mut lifecycle) = (Record::default(), Lifecycle::default());
        if more & DELETED != 0 {
            lifecycle.deleted = self.stamps.read(false, self.from)?;
        }
        if more & FATES != 0 {
            lifecycle.fates = self.fates(lifecycle.deleted)?;
        }
        if more & EXPIRED != 0 {
            lifecycle.expired = Some(self.touch()?);
        }
        if more & TOUCHED != 0 {
            record.last_touch = Some(self.touch()?);
        }
        if more & IDLE != 0 {
            let own = self.own(common)?;
            let value = match self.from.byte()? {
                0 => IdleLimit::Forever,
                1 => IdleLimit::Millis(self.from.number()?),
                found => {
                    let expected = "0 or 1";
                    return Err(PeerMisbehaved::BadByte { expected, found });
                }
            };
            record.max_inactive = Some(register(own, value));
        }
        if more & ROUTE != 0 {
            let own = self.own(common)?;
            record.route = Some(register(own, self.words.read(self.from)?));
        }
        if more & RENAMED_FROM != 0 {
            let own = self.own(common)?;
            lifecycle.renamed_from = Some(Box::new(register(own, self.origin()?)));
        }
        record.lifecycle = lifecycle.into();
        Ok(record)
    }

    fn touch(&mut self) -> Result<Touch, PeerMisbehaved> {
        let life = self.stamps.read(false, self.from)?;
        let at_ms = self.from.difference(life.wall_ms())?;
        Ok(Touch { life, at_ms })
    }

    fn own(&mut self, common: Option<Common>) -> Result<Common, PeerMisbehaved> {
        let head = self.from.byte()?;
        self.head(head, common)
    }

    fn head(&mut self, head: u8, common: Option<Common>) -> Result<Common, PeerMisbehaved> {
        let common = common.ok_or(PeerMisbehaved::BadRegister(head))?;
        match head {
            PLAIN => Ok(common),
            OWN_STAMP => Ok(Common {
                stamp: self.stamps.read(false, self.from)?,
                ..common
            }),
            OWN_LIFE => {
                let stamp = self.stamps.read(false, self.from)?;
                let life = self.stamps.read(false, self.from)?;
                Ok(Common { life, stamp })
            }
            _ => Err(PeerMisbehaved::BadRegister(head)),
        }
    }
}

fn register<T>(Common { life, stamp }: Common, value: T) -> Register<T> {
    Register { life, stamp, value }
}

/// The record in normal form.
fn normal(record: Record) -> Record {
    let meta = [
        record.lifecycle.expired.map(|touch| touch.life),
        record.last_touch.map(|touch| touch.life),
        record.max_inactive.as_ref().map(|r| r.life),
        record.route.as_ref().map(|r| r.life),
        record.lifecycle.renamed_from.as_ref().map(|r| r.life),
    ];
    let attributes = record.attributes.registers().map(|r| r.life);
    let earliest = meta.into_iter().flatten().chain(attributes).min();
    if record.lifecycle.fates.is_empty() && earliest.is_none_or(|life| life > record.lifecycle.deleted) {
        return record;
    }
    let mut joined = record.ends();
    joined.join(&record);
    joined
}

#[cfg(test)]
mod tests;
