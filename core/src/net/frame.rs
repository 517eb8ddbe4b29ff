//! Frames: a length (u32, little-endian, not counting itself), then that many bytes.

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::base::limits::FRAME_MAX;

/// Why no frame can be read any more. The link is closed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced a frame that is none.
    #[error("a frame of {0} bytes where 1 to {FRAME_MAX} are allowed")]
    Length(usize),
    /// The connection ended in the middle of a frame.
    #[error("the connection ended inside a frame")]
    CutShort,
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
pub struct Begun(usize);

/// Begins a frame; whatever is appended until [`Begun::end`] is its body.
pub fn begin(into: &mut Vec<u8>) -> Begun {
    let begin = into.len();
    into.extend_from_slice(&[0; 4]);
    Begun(begin)
}

impl Begun {
    /// The body is complete.
    pub fn end(self, into: &mut [u8]) {
        let Some((head, body)) = into.get_mut(self.0..).and_then(<[u8]>::split_first_chunk_mut) else {
            return;
        };
        *head = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    }

    /// There is no such frame after all.
    pub fn undo(self, into: &mut Vec<u8>) {
        into.truncate(self.0);
    }
}

/// Reads frames from a connection, as many as arrive at once.
#[derive(Debug)]
pub struct Frames<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Frames that arrive on `from`.
    pub fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::with_capacity(16 << 10),
        }
    }

    /// The next frame; `None` when the peer closed the connection between two. A length is believed only as far
    /// as bytes arrive: the buffer grows with them, not with the claim. Cancel-safe.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next(&mut self) -> Result<Option<BytesMut>, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            let read = match self.from.read_buf(&mut self.buffer).await {
                // The process died, so TLS got no goodbye. Every message is a frame, so nothing was cut off.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
                read => read?,
            };
            if read == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(FrameError::CutShort)
                };
            }
        }
    }

    fn take(&mut self) -> Result<Option<BytesMut>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if len == 0 || len > FRAME_MAX {
            return Err(FrameError::Length(len));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut frames = Frames::new(bytes);
        let mut all = Vec::new();
        while let Some(frame) = frames.next().await? {
            all.push(frame.to_vec());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn frames_come_back_as_written() {
        let mut bytes = Vec::new();
        write(b"one", &mut bytes);
        begin(&mut bytes).undo(&mut bytes);
        let frame = begin(&mut bytes);
        bytes.extend_from_slice(&[7; 100_000]);
        frame.end(&mut bytes);
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
            Err(FrameError::CutShort)
        ));
    }
}
