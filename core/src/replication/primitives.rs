//! The primitives of the record encoding: numbers, text, words and stamps in few bytes.
//!
//! Numbers are LEB128: seven bits per byte, the lowest first. Differences are zigzag LEB128, so that small ones are
//! short in either direction. A word or a node's tag is written in full where it first occurs in a message, and as its
//! number in the message's dictionary from then on.
//!
//! What a record consists of is in [`super::records`].

use std::collections::HashMap; // looked up only, so its order is never seen
use std::sync::Arc;

use super::message::PeerMisbehaved;
use crate::session::Stamp;

/// How many words of a dictionary are compared one by one; further ones are found by their hash.
const LINEAR: usize = 8;

/// Appends a number.
pub(super) fn number(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Appends the difference of `value` from `base`.
pub(super) fn difference(value: u64, base: u64, into: &mut Vec<u8>) {
    let apart = value.wrapping_sub(base).cast_signed();
    number(((apart << 1) ^ (apart >> 63)).cast_unsigned(), into);
}

/// Appends the length of `value`, then `value`.
pub(super) fn bytes(value: &[u8], into: &mut Vec<u8>) {
    number(value.len() as u64, into);
    into.extend_from_slice(value);
}

/// A message that is read from the front.
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

    pub(super) fn byte(&mut self) -> Result<u8, PeerMisbehaved> {
        let (first, rest) = self.0.split_first().ok_or(PeerMisbehaved::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, PeerMisbehaved> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PeerMisbehaved::NumberTooLarge)
    }

    /// A number that counts something in memory.
    pub(super) fn count(&mut self) -> Result<usize, PeerMisbehaved> {
        usize::try_from(self.number()?).map_err(|_| PeerMisbehaved::NumberTooLarge)
    }

    pub(super) fn difference(&mut self, base: u64) -> Result<u64, PeerMisbehaved> {
        let zigzag = self.number()?;
        let apart = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        Ok(base.wrapping_add(apart.cast_unsigned()))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], PeerMisbehaved> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(PeerMisbehaved::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], PeerMisbehaved> {
        let len = self.count()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, PeerMisbehaved> {
        std::str::from_utf8(self.bytes()?).map_err(|_| PeerMisbehaved::NotUtf8)
    }
}

/// A dictionary of words while a message is written: the first occurrence in full, further ones by number. Hashed only
/// by word, so the order of the map reaches no output.
#[derive(Debug, Default)]
pub(super) struct WordWriter<'a> {
    first: Vec<&'a str>,
    rest: HashMap<&'a str, usize>,
}

impl<'a> WordWriter<'a> {
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

/// A dictionary of words while a message is read: each word is allocated once, however often it occurs.
#[derive(Debug, Default)]
pub(super) struct WordReader(Vec<Arc<str>>);

impl WordReader {
    pub(super) fn read(&mut self, from: &mut Reader) -> Result<Arc<str>, PeerMisbehaved> {
        let index = from.count()?;
        if index == self.0.len() {
            self.0.push(from.text()?.into());
        }
        self.at(index)
    }

    pub(super) fn at(&self, index: usize) -> Result<Arc<str>, PeerMisbehaved> {
        self.0.get(index).cloned().ok_or(PeerMisbehaved::UnknownReference)
    }
}

/// Writes stamps: the node by its number in the message's list, the time as the difference from the stamp before.
#[derive(Debug, Default)]
pub(super) struct StampWriter {
    nodes: Vec<u64>,
    last_ms: u64,
}

impl StampWriter {
    /// Whether `stamp` is of the first node of the message.
    pub(super) fn is_first(&self, stamp: Stamp) -> bool {
        self.nodes.first() == Some(&stamp.node)
    }

    /// Appends `stamp`; without its node where the reader knows that it is the first one.
    pub(super) fn write(&mut self, stamp: Stamp, of_first: bool, into: &mut Vec<u8>) {
        self.write_near(stamp, self.last_ms, of_first, into);
        self.last_ms = stamp.wall_ms();
    }

    /// Appends `stamp` as the difference from `ms`.
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

/// The reading side of [`StampWriter`].
#[derive(Debug, Default)]
pub(super) struct StampReader {
    nodes: Vec<u64>,
    last_ms: u64,
}

impl StampReader {
    pub(super) fn read(&mut self, of_first: bool, from: &mut Reader) -> Result<Stamp, PeerMisbehaved> {
        let stamp = self.read_near(self.last_ms, of_first, from)?;
        self.last_ms = stamp.wall_ms();
        Ok(stamp)
    }

    pub(super) fn read_near(
        &mut self,
        ms: u64,
        of_first: bool,
        from: &mut Reader,
    ) -> Result<Stamp, PeerMisbehaved> {
        let wall_ms = from.difference(ms)?;
        let counter = from.number()?;
        if wall_ms >> 48 != 0 || counter > 0xffff {
            return Err(PeerMisbehaved::BadStamp);
        }
        let index = if of_first { 0 } else { from.count()? };
        if index == self.nodes.len() {
            let tag = from.take(8)?.try_into().map_err(|_| PeerMisbehaved::Truncated)?;
            self.nodes.push(u64::from_le_bytes(tag));
        }
        let node = *self.nodes.get(index).ok_or(PeerMisbehaved::UnknownReference)?;
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
            let (mut out, mut written) = (Vec::new(), WordWriter::default());
            words.iter().for_each(|word| written.write(word, &mut out));
            let (mut reader, mut read) = (Reader::new(&out), WordReader::default());
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
    fn a_number_of_more_than_64_bits_is_refused() {
        assert_eq!(
            Reader::new(&[0xff; 20]).number(),
            Err(PeerMisbehaved::NumberTooLarge)
        );
    }
}
