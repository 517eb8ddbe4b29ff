//! Numbers, text and moments in few bytes: what records are spelled with. Knows no record.
//!
//! Numbers are LEB128: seven bits per byte, the least first. Differences are zigzag numbers, so that small ones are
//! short whichever way they go. A word, or a node's tag, is written out where it first comes up in a message and is a
//! number from then on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::session::Stamp;

/// How many entries of a dictionary are looked through one by one before the rest is hashed.
const LINEAR: usize = 8;

/// Why bytes cannot be read.
pub(super) type Malformed = &'static str;

/// Appends a number.
pub(super) fn number(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Appends how far `value` is from `base`.
pub(super) fn difference(value: u64, base: u64, into: &mut Vec<u8>) {
    let apart = value.wrapping_sub(base).cast_signed();
    number(((apart << 1) ^ (apart >> 63)).cast_unsigned(), into);
}

/// Appends bytes and, before them, how many.
pub(super) fn bytes(value: &[u8], into: &mut Vec<u8>) {
    number(value.len() as u64, into);
    into.extend_from_slice(value);
}

/// Bytes that are read from the front.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// What is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or("cut short")?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits")
    }

    /// A number that counts something in memory.
    pub(super) fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| "a count of more than there is memory")
    }

    pub(super) fn difference(&mut self, base: u64) -> Result<u64, Malformed> {
        let zigzag = self.number()?;
        let apart = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        Ok(base.wrapping_add(apart.cast_unsigned()))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.count()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is no UTF-8")
    }
}

/// Words as they are written: the first time in full, then by number.
#[derive(Debug, Default)]
pub(super) struct WordsOut<'a> {
    first: Vec<&'a str>,
    rest: HashMap<&'a str, usize>,
}

impl<'a> WordsOut<'a> {
    pub(super) fn write(&mut self, word: &'a str, into: &mut Vec<u8>) {
        let known = self.first.iter().position(|known| *known == word);
        if let Some(index) = known.or_else(|| self.rest.get(word).copied()) {
            return number(index as u64, into);
        }
        let index = self.first.len() + self.rest.len();
        if self.first.len() < LINEAR {
            self.first.push(word);
        } else {
            self.rest.insert(word, index);
        }
        number(index as u64, into);
        bytes(word.as_bytes(), into);
    }

    /// Whether `word` was the first.
    pub(super) fn is_first(&self, word: &str) -> bool {
        self.first.first().is_some_and(|first| *first == word)
    }
}

/// Words as they are read: each once in memory, however often it comes up.
#[derive(Debug, Default)]
pub(super) struct WordsIn(Vec<Arc<str>>);

impl WordsIn {
    pub(super) fn read(&mut self, from: &mut Reader) -> Result<Arc<str>, Malformed> {
        let index = from.count()?;
        if index == self.0.len() {
            self.0.push(from.text()?.into());
        }
        self.at(index)
    }

    pub(super) fn at(&self, index: usize) -> Result<Arc<str>, Malformed> {
        self.0.get(index).cloned().ok_or("a word that was not said")
    }
}

/// Tags of nodes, and moments near the last one that was written.
#[derive(Debug, Default)]
pub(super) struct StampsOut {
    nodes: Vec<u64>,
    last_ms: u64,
}

impl StampsOut {
    /// Whether `stamp` is one of the first node that came up.
    pub(super) fn is_first(&self, stamp: Stamp) -> bool {
        self.nodes.first() == Some(&stamp.node)
    }

    /// Appends `stamp`; without its node where the reader knows that it is the first.
    pub(super) fn write(&mut self, stamp: Stamp, of_first: bool, into: &mut Vec<u8>) {
        self.write_near(stamp, self.last_ms, of_first, into);
        self.last_ms = stamp.wall_ms();
    }

    /// Appends `stamp` by its distance from `ms`.
    pub(super) fn write_near(&mut self, stamp: Stamp, ms: u64, of_first: bool, into: &mut Vec<u8>) {
        difference(stamp.wall_ms(), ms, into);
        number(stamp.time & 0xffff, into);
        if of_first {
            return;
        }
        let known = self.nodes.iter().position(|node| *node == stamp.node);
        number(known.unwrap_or(self.nodes.len()) as u64, into);
        if known.is_none() {
            self.nodes.push(stamp.node);
            into.extend_from_slice(&stamp.node.to_le_bytes());
        }
    }
}

/// The reading side of [`StampsOut`].
#[derive(Debug, Default)]
pub(super) struct StampsIn {
    nodes: Vec<u64>,
    last_ms: u64,
}

impl StampsIn {
    pub(super) fn read(&mut self, of_first: bool, from: &mut Reader) -> Result<Stamp, Malformed> {
        let stamp = self.read_near(self.last_ms, of_first, from)?;
        self.last_ms = stamp.wall_ms();
        Ok(stamp)
    }

    pub(super) fn read_near(
        &mut self,
        ms: u64,
        of_first: bool,
        from: &mut Reader,
    ) -> Result<Stamp, Malformed> {
        let wall_ms = from.difference(ms)?;
        let counter = from.number()?;
        if wall_ms >> 48 != 0 || counter > 0xffff {
            return Err("a moment that is none");
        }
        let index = if of_first { 0 } else { from.count()? };
        if index == self.nodes.len() {
            let tag = from.take(8)?.try_into().map_err(|_| "cut short")?;
            self.nodes.push(u64::from_le_bytes(tag));
        }
        let node = *self.nodes.get(index).ok_or("a node that was not said")?;
        Ok(Stamp {
            time: wall_ms << 16 | counter,
            node,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_differences_round_trip(value: u64, base: u64) {
            let mut out = Vec::new();
            number(value, &mut out);
            difference(value, base, &mut out);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), Ok(value));
            prop_assert_eq!(reader.difference(base), Ok(value));
            prop_assert_eq!(reader.len(), 0);
        }

        #[test]
        fn words_round_trip(words in prop::collection::vec("[a-z]{0,2}", 0..200)) {
            let (mut out, mut written) = (Vec::new(), WordsOut::default());
            words.iter().for_each(|word| written.write(word, &mut out));
            let (mut reader, mut read) = (Reader::new(&out), WordsIn::default());
            for word in &words {
                prop_assert_eq!(&*read.read(&mut reader).unwrap(), word.as_str());
            }
            prop_assert_eq!(reader.len(), 0);
        }
    }

    #[test]
    fn small_differences_are_one_byte_either_way() {
        for value in [1000_u64 - 63, 1000, 1000 + 63] {
            let mut out = Vec::new();
            difference(value, 1000, &mut out);
            assert_eq!(out.len(), 1, "{value}");
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        assert!(Reader::new(&[0xff; 20]).number().is_err());
    }
}
