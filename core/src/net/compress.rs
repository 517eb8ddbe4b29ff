//! Compression of frames with zstd, where that makes them smaller.
//!
//! Every node reads compressed frames; whether it writes them is its configuration's choice. Where a compressed body
//! lies in a frame is in [`super::frame`].

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

/// A body with fewer bytes is not compressed: there is little to gain.
const LEAST: usize = 512;
/// zstd's compression level, of 1 to 22: the fastest, because compressing must not take longer than it saves.
const LEVEL: i32 = 1;

/// Compresses bodies of frames.
pub struct FrameCompressor {
    zstd: Option<Compressor<'static>>,
    scratch: Vec<u8>,
}

impl fmt::Debug for FrameCompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCompressor").finish_non_exhaustive()
    }
}

impl FrameCompressor {
    /// For one link. Where zstd cannot be set up, for want of memory, bodies stay as they are.
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

    /// The body compressed; `None` when that would not make it smaller.
    pub fn compress(&mut self, body: &[u8]) -> Option<&[u8]> {
        let zstd = self.zstd.as_mut().filter(|_| body.len() >= LEAST)?;
        // A result that does not fit into fewer bytes is of no use.
        self.scratch.clear();
        self.scratch.reserve(body.len());
        let len = zstd.compress_to_buffer(body, &mut self.scratch).ok()?;
        self.scratch
            .get(..len)
            .filter(|smaller| smaller.len() + 4 < body.len())
    }
}

/// Decompresses `compressed` into a body of `len` bytes.
///
/// # Errors
/// When that is not its length, or above [`FRAME_MAX`]: no more memory is taken, however few bytes arrive.
pub fn decompress(compressed: &[u8], len: usize) -> Result<Bytes, FrameError> {
    if len == 0 || len > FRAME_MAX {
        return Err(FrameError::Length(len));
    }
    let decompressed = Decompressor::new().and_then(|mut zstd| zstd.decompress(compressed, len));
    match decompressed {
        Ok(body) if body.len() == len => Ok(body.into()),
        Ok(body) => Err(FrameError::ShortBody {
            found: body.len(),
            announced: len,
        }),
        Err(error) => Err(FrameError::Compressed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_get_smaller_is_not_compressed() {
        let mut compressor = FrameCompressor::new(Compression::Zstd);
        let mut state = 7_u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        assert_eq!(compressor.compress(&noise), None);
        assert_eq!(compressor.compress(&[b'a'; LEAST - 1]), None);
        assert!(compressor.compress(&[b'a'; LEAST]).is_some());
        assert_eq!(
            FrameCompressor::new(Compression::None).compress(&[b'a'; 4096]),
            None
        );
    }

    #[test]
    fn bodies_round_trip() {
        let mut compressor = FrameCompressor::new(Compression::Zstd);
        for len in [LEAST, 10_000, 1_000_000] {
            let body: Vec<u8> = (0..len).map(|n| (n / 7) as u8).collect();
            let compressed = compressor.compress(&body).unwrap();
            assert!(compressed.len() < body.len());
            assert_eq!(decompress(compressed, len).unwrap(), body);
            assert!(decompress(compressed, len - 1).is_err(), "more than announced");
            assert!(decompress(compressed, len + 1).is_err(), "fewer than announced");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; FRAME_MAX + 1], LEVEL).unwrap();
        assert!(bomb.len() < 16 << 10, "{}", bomb.len());
        for len in [0, 1, FRAME_MAX, FRAME_MAX + 1, u32::MAX as usize] {
            assert!(decompress(&bomb, len).is_err(), "announced as {len}");
        }
        assert!(decompress(b"no zstd at all", 100).is_err());
    }
}
