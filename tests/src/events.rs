//! Somebody who listens to `GET /v1/events`, and reads only when asked to.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::http::Address;

/// One event as it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    /// Its `event:`.
    pub name: String,
    /// Its `id:`.
    pub id: String,
    /// Its `data:`.
    pub data: Value,
}

/// A request for events that was answered.
pub struct Events {
    stream: Box<dyn AsyncRead + Unpin + Send>,
    /// The status it was answered with.
    pub status: u16,
    /// The head of the answer.
    pub head: String,
    /// What came and is no event yet, without the framing of chunks.
    text: Vec<u8>,
    /// What came and is not taken out of its chunk yet.
    raw: Vec<u8>,
}

impl Events {
    /// Asks for events with a query and further header lines, and reads the head of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn open(to: &Address, query: &str, headers: &str) -> io::Result<Self> {
        let request = format!("GET /v1/events?{query} HTTP/1.1\r\nhost: core\r\n{headers}\r\n");
        let stream: Box<dyn AsyncRead + Unpin + Send> = match to {
            Address::Tcp(addr) => {
                let mut stream = TcpStream::connect(addr).await?;
                stream.write_all(request.as_bytes()).await?;
                Box::new(stream)
            }
            Address::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                stream.write_all(request.as_bytes()).await?;
                Box::new(stream)
            }
        };
        let mut events = Self {
            stream,
            status: 0,
            head: String::new(),
            text: Vec::new(),
            raw: Vec::new(),
        };
        let end = loop {
            match find(&events.raw, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => events.fill().await?,
            }
        };
        events.head = String::from_utf8_lossy(&events.raw[..end]).to_ascii_lowercase();
        events.raw.drain(..end);
        events.status = events
            .head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        Ok(events)
    }

    /// The next event; comments and fields that belong to none are passed over.
    ///
    /// # Errors
    /// When the answer ends or nothing comes for `within`.
    pub async fn next(&mut self, within: Duration) -> io::Result<Event> {
        tokio::time::timeout(within, async {
            loop {
                while let Some(end) = find(&self.text, b"\n\n") {
                    let block: Vec<u8> = self.text.drain(..end + 2).collect();
                    let event = parse(&String::from_utf8_lossy(&block));
                    if !event.name.is_empty() {
                        return Ok(event);
                    }
                }
                if !self.unchunk() {
                    self.fill().await?;
                }
            }
        })
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no event in time")))
    }

    /// Takes one whole chunk out of its framing, if one is there.
    fn unchunk(&mut self) -> bool {
        let Some(line) = find(&self.raw, b"\r\n") else {
            return false;
        };
        let size = String::from_utf8_lossy(&self.raw[..line]).into_owned();
        let Ok(size) = usize::from_str_radix(&size, 16) else {
            return false;
        };
        let begin = line + 2;
        if self.raw.len() < begin + size + 2 {
            return false;
        }
        self.text.extend_from_slice(&self.raw[begin..begin + size]);
        self.raw.drain(..begin + size + 2);
        true
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.raw).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("id", id)) => id.clone_into(&mut event.id),
            Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
            _ => {}
        }
    }
    event
}
