//! The reader of header pairs: header maps in the encoding of the proxy-wasm ABI (0.2.1), read in place.
//!
//! ```text
//! u32 count | count x (u32 name length, u32 value length) | count x (name, 0, value, 0)      little-endian
//! ```
//! Nothing is copied and no length is trusted: a pair that does not fit ends the walk. There is no encoder, because
//! the filters change single headers by name.

/// An iterator over encoded pairs: `(name, value)` as bytes, in the order of the message.
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    left: u32,
    lengths: &'a [u8],
    data: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Reads the header of the encoding. Bytes that are no encoding give an empty iterator.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::start(bytes).unwrap_or(Self {
            left: 0,
            lengths: &[],
            data: &[],
        })
    }

    fn start(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = take_u32(bytes)?;
        let (lengths, data) = rest.split_at_checked(usize::try_from(count).ok()?.checked_mul(8)?)?;
        Some(Self {
            left: count,
            lengths,
            data,
        })
    }

    fn step(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let (name_len, rest) = take_u32(self.lengths)?;
        let (value_len, rest) = take_u32(rest)?;
        self.lengths = rest;
        let (name, rest) = take_text(self.data, name_len)?;
        let (value, rest) = take_text(rest, value_len)?;
        self.data = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.step();
        if pair.is_none() {
            self.left = 0;
        }
        pair
    }
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

/// Takes `len` bytes and drops the zero byte behind them.
fn take_text(bytes: &[u8], len: u32) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    let (_, rest) = rest.split_first()?;
    Some((text, rest))
}

/// The encoding of `pairs`, as a proxy writes it.
#[cfg(test)]
pub(crate) fn encode(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name);
        bytes.push(0);
        bytes.extend(value);
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_maps_in_every_encoding() {
        for bytes in [&[][..], &[0], &[0, 0, 0, 0]] {
            assert_eq!(Pairs::new(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn a_count_larger_than_the_bytes_gives_no_pairs() {
        let mut bytes = encode(&[(b"a".to_vec(), b"b".to_vec())]);
        bytes[0] = 200;
        assert_eq!(Pairs::new(&bytes).count(), 0);
        assert_eq!(Pairs::new(&[255; 64]).count(), 0);
    }

    proptest! {
        #[test]
        fn reads_what_was_encoded(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let bytes = encode(&pairs);
            let read: Vec<_> = Pairs::new(&bytes).map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn survives_any_bytes(bytes: Vec<u8>, count in 0_u8..8) {
            Pairs::new(&bytes).for_each(drop);
            let counted = [&[count, 0, 0, 0], bytes.as_slice()].concat();
            Pairs::new(&counted).for_each(drop);
        }
    }
}
