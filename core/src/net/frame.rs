//! Frames: a length (u32, little-endian, not counting itself), then that many bytes.
//!
//! With the highest bit of the length set, the bytes are the length of the body (u32), then the body compressed with
//! zstd. What a body means is in [`crate::replication::message`].

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::compress::{self, FrameCompressor};
use crate::base::limits::FRAME_MAX;

/// Set in the length of a frame whose body is compressed.
const COMPRESSED: u32 = 1 << 31;

/// Why no further frame can be read. The link is closed; what was read before stands.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced a frame that is empty or too long.
    #[error("the peer announces a frame of {0} bytes where 1 to {FRAME_MAX} are allowed")]
    Length(usize),
    /// The peer sent a compressed frame that zstd cannot read, or that is longer than announced.
    #[error("the peer's compressed frame cannot be decompressed")]
    Compressed(#[source] std::io::Error),
    /// The peer sent a compressed frame that is shorter than announced.
    #[error("the peer's compressed frame has {found} bytes where it announces {announced}")]
    ShortBody {
        /// How many bytes it has.
        found: usize,
        /// How many it announces.
        announced: usize,
    },
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame")]
    Truncated,
    /// The connection failed.
    #[error("reading from the peer: {0}")]
    Io(#[from] std::io::Error),
}

/// Appends `body` as a frame.
pub fn write(body: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend_from_slice(body);
}

/// A frame whose body is being appended to a buffer.
#[derive(Debug)]
#[must_use]
pub struct OpenFrame(usize);

/// Begins a frame; whatever is appended until [`OpenFrame::end`] is its body.
pub fn begin(into: &mut Vec<u8>) -> OpenFrame {
    let begin = into.len();
    into.extend_from_slice(&[0; 4]);
    OpenFrame(begin)
}

impl OpenFrame {
    /// The body is complete; compresses it where that makes it smaller. Returns how many bytes it had before.
    pub fn end(self, compressor: &mut FrameCompressor, into: &mut Vec<u8>) -> usize {
        let body = into.get(self.0 + 4..).unwrap_or_default();
        let plain = body.len();
        let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let mut head = length(plain);
        if let Some(smaller) = compressor.compress(body) {
            head = length(4 + smaller.len()) | COMPRESSED;
            into.truncate(self.0 + 4);
            into.extend_from_slice(&length(plain).to_le_bytes());
            into.extend_from_slice(smaller);
        }
        if let Some(begin) = into.get_mut(self.0..).and_then(<[u8]>::first_chunk_mut) {
            *begin = head.to_le_bytes();
        }
        plain
    }

    /// Takes the frame out of the buffer again.
    pub fn undo(self, into: &mut Vec<u8>) {
        into.truncate(self.0);
    }
}

/// Reads frames from a connection.
#[derive(Debug)]
pub struct Frames<R> {
    from: R,
    buffer: BytesMut,
    wire_bytes: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Frames that arrive on `from`.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::with_capacity(16 << 10),
            wire_bytes: 0,
        }
    }

    /// The next frame; `None` when the peer closed the connection between two. The buffer grows with the bytes that
    /// arrive, not with the length that is announced. Cancel-safe.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            let read = match self.from.read_buf(&mut self.buffer).await {
                // The process died, so TLS got no close_notify. Frames have lengths, so nothing was cut off unnoticed.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
                read => read?,
            };
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    /// How many bytes the last frame had on the connection.
    #[must_use]
    pub const fn wire_bytes(&self) -> usize {
        self.wire_bytes
    }

    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let head = u32::from_le_bytes(*head);
        let len = usize::try_from(head & !COMPRESSED).unwrap_or(usize::MAX);
        if len == 0 || len > FRAME_MAX {
            return Err(FrameError::Length(len));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        self.wire_bytes = 4 + len;
        let body = self.buffer.split_to(len).freeze();
        if head & COMPRESSED == 0 {
            return Ok(Some(body));
        }
        let Some((plain, compressed)) = body.split_first_chunk::<4>() else {
            return Err(FrameError::Length(len));
        };
        let plain = usize::try_from(u32::from_le_bytes(*plain)).unwrap_or(usize::MAX);
        compress::decompress(compressed, plain).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::compress::Compression;

    #[tokio::test]
    async fn compressed_frames_round_trip_whatever_lies_between_them() {
        let mut compressor = FrameCompressor::new(Compression::Zstd);
        let mut bytes = Vec::new();
        for (body, shrinks) in [
            (vec![7; 100_000], true),
            (b"short".to_vec(), false),
            (vec![8; 600], true),
        ] {
            let (begin, frame) = (bytes.len(), begin(&mut bytes));
            bytes.extend_from_slice(&body);
            assert_eq!(frame.end(&mut compressor, &mut bytes), body.len());
            assert_eq!(bytes.len() - begin < body.len(), shrinks);
        }
        assert_eq!(
            read_all(&bytes).await.unwrap(),
            [vec![7; 100_000], b"short".to_vec(), vec![8; 600]]
        );
    }

    #[tokio::test]
    async fn a_compressed_frame_that_announces_too_much_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; FRAME_MAX + 1], 1).unwrap();
        for claim in [FRAME_MAX as u32 + 1, FRAME_MAX as u32, u32::MAX] {
            let mut bytes = (u32::try_from(4 + bomb.len()).unwrap() | COMPRESSED)
                .to_le_bytes()
                .to_vec();
            bytes.extend(claim.to_le_bytes());
            bytes.extend(&bomb);
            assert!(read_all(&bytes).await.is_err(), "{claim}");
        }
        let none = (3 | COMPRESSED).to_le_bytes();
        assert!(read_all(&[&none[..], &[1, 2, 3]].concat()).await.is_err());
    }

    async fn read_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut frames = Frames::new(bytes);
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await? {
            all.push(frame.to_vec());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn frames_round_trip() {
        let mut bytes = Vec::new();
        write(b"one", &mut bytes);
        begin(&mut bytes).undo(&mut bytes);
        let frame = begin(&mut bytes);
        bytes.extend_from_slice(&[7; 100_000]);
        frame.end(&mut FrameCompressor::new(Compression::None), &mut bytes);
        assert_eq!(
            read_all(&bytes).await.unwrap(),
            [b"one".to_vec(), vec![7; 100_000]]
        );
    }

    #[tokio::test]
    async fn wrong_lengths_are_errors() {
        assert!(matches!(read_all(&[0; 4]).await, Err(FrameError::Length(0))));
        assert!(matches!(read_all(&[255; 8]).await, Err(FrameError::Length(_))));
        assert!(matches!(
            read_all(&[9, 0, 0, 0, 1]).await,
            Err(FrameError::Truncated)
        ));
    }
}
