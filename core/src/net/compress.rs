//! Frames made smaller with zstd, where it helps. Every node can read them; whether it writes them is its
//! configuration's choice.

use std::fmt;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::frame::FrameError;
use crate::base::limits::FRAME_MAX;

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// With zstd, where that makes them smaller.
    Zstd,
}

impl Compression {
    /// The compression called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "none" => Self::None,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }
}

/// A body with fewer bytes is left as it is: there is little to gain, and every call costs something.
const LEAST: usize = 512;
/// zstd's own measure of effort, of 1 to 22: a link must not cost more time than it saves.
const LEVEL: i32 = 1;

/// Makes bodies of frames smaller.
pub struct Shrink {
    zstd: Option<Compressor<'static>>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Shrink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shrink").finish_non_exhaustive()
    }
}

impl Shrink {
    /// For one link. Where zstd cannot be had, for want of memory, bodies stay as they are.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        let zstd = match compression {
            Compression::None => None,
            Compression::Zstd => Compressor::new(LEVEL).ok(),
        };
        Self {
            zstd,
            scratch: Vec::new(),
        }
    }

    /// The body made smaller; `None` when it is better left as it is.
    pub fn shrink(&mut self, body: &[u8]) -> Option<&[u8]> {
        let zstd = self.zstd.as_mut().filter(|_| body.len() >= LEAST)?;
        // One that does not fit into fewer bytes is not wanted.
        self.scratch.clear();
        self.scratch.reserve(body.len());
        let len = zstd.compress_to_buffer(body, &mut self.scratch).ok()?;
        self.scratch
            .get(..len)
            .filter(|smaller| smaller.len() + 4 < body.len())
    }
}

/// The body that `shrunk` was made of, which has `len` bytes.
///
/// # Errors
/// When it has not, or would pass [`FRAME_MAX`]: no more than that is ever made of however few bytes.
pub fn grow(shrunk: &[u8], len: usize) -> Result<Bytes, FrameError> {
    if len == 0 || len > FRAME_MAX {
        return Err(FrameError::Length(len));
    }
    let grown = Decompressor::new().and_then(|mut zstd| zstd.decompress(shrunk, len));
    match grown {
        Ok(body) if body.len() == len => Ok(body.into()),
        Ok(_) => Err(FrameError::Compressed("it has fewer bytes than announced".into())),
        Err(error) => Err(FrameError::Compressed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_get_smaller_is_left_as_it_is() {
        let mut shrink = Shrink::new(Compression::Zstd);
        let mut state = 7_u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(shrink.shrink(&noise), None);
        assert_eq!(shrink.shrink(&[b'a'; LEAST - 1]), None);
        assert!(shrink.shrink(&[b'a'; LEAST]).is_some());
        assert_eq!(Shrink::new(Compression::None).shrink(&[b'a'; 4096]), None);
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        let mut shrink = Shrink::new(Compression::Zstd);
        for len in [LEAST, 10_000, 1_000_000] {
            let body: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
            let shrunk = shrink.shrink(&body).unwrap();
            assert!(shrunk.len() < body.len());
            assert_eq!(grow(shrunk, len).unwrap(), body);
            assert!(grow(shrunk, len - 1).is_err(), "more than announced");
            assert!(grow(shrunk, len + 1).is_err(), "fewer than announced");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; FRAME_MAX + 1], LEVEL).unwrap();
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        for len in [0, 1, FRAME_MAX, FRAME_MAX + 1, u32::MAX as usize] {
            assert!(grow(&bomb, len).is_err(), "announced as {len}");
        }
        assert!(grow(b"no zstd at all", 100).is_err());
    }
}
