//! The layout in which a header map crosses the border between host and guest.
//!
//! ```text
//! u32 count | count x (u32 name length, u32 value length) | count x (name, 0, value, 0)      little-endian
//! ```
//! No pairs are no bytes. The layout is checked against bytes written down by hand.

use super::numbers::Status;

/// The largest list read from a guest, in bytes; a larger one is refused.
pub const BYTES_MAX: usize = 1 << 20;
/// The most pairs read from a guest; a longer list is refused.
pub const PAIRS_MAX: usize = 1024;

/// A name and a value.
pub type Pair<'b> = (&'b [u8], &'b [u8]);

/// A header map that can be written.
pub trait PairSource {
    /// Calls `f` with each name and value, in the same order every time.
    fn each(&self, f: impl FnMut(&[u8], &[u8]));
}

/// How many bytes [`write`] needs for `map`.
#[must_use]
pub fn size(map: &(impl PairSource + ?Sized)) -> usize {
    let mut size = 4;
    let mut count = 0_usize;
    map.each(|name, value| {
        size += 10 + name.len() + value.len();
        count += 1;
    });
    if count == 0 { 0 } else { size }
}

/// Writes `map` into `block`, which has exactly [`size`] bytes.
///
/// # Errors
/// `InternalFailure` when it has not: the map changed in between.
pub fn write(map: &(impl PairSource + ?Sized), block: &mut [u8]) -> Result<(), Status> {
    let mut count = 0_usize;
    map.each(|_, _| count += 1);
    let lengths_end = 4 + count * 8;
    let (lengths, mut texts) = block
        .split_at_mut_checked(lengths_end)
        .ok_or(Status::InternalFailure)?;
    let (head, mut lengths) = lengths.split_at_mut_checked(4).ok_or(Status::InternalFailure)?;
    head.copy_from_slice(&le(count));
    let mut fits = true;
    map.each(|name, value| {
        fits = fits
            && push(&mut lengths, &le(name.len()))
            && push(&mut lengths, &le(value.len()))
            && push(&mut texts, name)
            && push(&mut texts, b"\0")
            && push(&mut texts, value)
            && push(&mut texts, b"\0");
    });
    if fits && texts.is_empty() {
        Ok(())
    } else {
        Err(Status::InternalFailure)
    }
}

/// The pairs in `bytes`; no bytes, or one zero byte, are no pairs.
///
/// # Errors
/// `BadArgument` when `bytes` is not exactly one list, or past a limit.
pub fn read(bytes: &[u8]) -> Result<Vec<Pair<'_>>, Status> {
    if matches!(bytes, [] | [0]) {
        return Ok(Vec::new());
    }
    if bytes.len() > BYTES_MAX {
        return Err(Status::BadArgument);
    }
    let (count, rest) = take_u32(bytes)?;
    if count > PAIRS_MAX {
        return Err(Status::BadArgument);
    }
    let (mut lengths, mut texts) = rest.split_at_checked(count * 8).ok_or(Status::BadArgument)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_len, rest) = take_u32(lengths)?;
        let (value_len, rest) = take_u32(rest)?;
        lengths = rest;
        let (name, rest) = take_text(texts, name_len)?;
        let (value, rest) = take_text(rest, value_len)?;
        texts = rest;
        pairs.push((name, value));
    }
    if texts.is_empty() {
        Ok(pairs)
    } else {
        Err(Status::BadArgument)
    }
}

fn take_u32(bytes: &[u8]) -> Result<(usize, &[u8]), Status> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Status::BadArgument)?;
    Ok((u32::from_le_bytes(*number) as usize, rest))
}

fn take_text(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), Status> {
    let (text, rest) = bytes.split_at_checked(len).ok_or(Status::BadArgument)?;
    match rest.split_first() {
        Some((0, rest)) => Ok((text, rest)),
        _ => Err(Status::BadArgument),
    }
}

fn le(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

fn push(at: &mut &mut [u8], bytes: &[u8]) -> bool {
    match std::mem::take(at).split_at_mut_checked(bytes.len()) {
        Some((head, tail)) => {
            head.copy_from_slice(bytes);
            *at = tail;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a: 1`, `bc: ` written by hand from the layout above.
    const GOLDEN: &[u8] = b"\x02\0\0\0\x01\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0a\x001\0bc\0\0";

    impl PairSource for [Pair<'_>] {
        fn each(&self, mut f: impl FnMut(&[u8], &[u8])) {
            self.iter().for_each(|(name, value)| f(name, value));
        }
    }

    #[test]
    fn written_as_the_golden_bytes() {
        let map: Vec<Pair<'_>> = vec![(b"a", b"1"), (b"bc", b"")];
        let map = &map[..];
        let mut block = vec![0xaa; size(map)];
        write(map, &mut block).unwrap();
        assert_eq!(block, GOLDEN);
        assert!(write(map, &mut vec![0; GOLDEN.len() + 1]).is_err());
        assert!(write(map, &mut vec![0; GOLDEN.len() - 1]).is_err());
        let empty: &[Pair<'_>] = &[];
        assert_eq!(size(empty), 0);
    }

    #[test]
    fn read_from_the_golden_bytes_and_from_nothing_else() {
        assert_eq!(read(GOLDEN).unwrap(), [(&b"a"[..], &b"1"[..]), (b"bc", b"")]);
        assert!(read(b"").unwrap().is_empty());
        assert!(read(b"\0").unwrap().is_empty());
        for cut in 1..GOLDEN.len() {
            assert!(read(&GOLDEN[..cut]).is_err(), "first {cut} bytes");
        }
        assert!(read(&[GOLDEN, b"x"].concat()).is_err());
        assert!(read(b"\xff\xff\xff\xff\0\0\0\0").is_err());
    }
}
