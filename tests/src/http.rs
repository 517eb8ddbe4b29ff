//! One HTTP/1.1 connection, byte for byte: what is sent is what was given, what came is what is returned.
//!
//! It never retries, follows nothing, and has no opinion about the bytes of a header. One request at a time.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// The most a response head may take; past it the connection is given up.
const HEAD_MAX: usize = 1 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `ip:port`
    Tcp(String),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `unix:/path`, `http://ip:port` or `ip:port`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(
                text.trim_start_matches("http://")
                    .trim_end_matches('/')
                    .to_owned(),
            ),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// An open connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    reusable: bool,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers in the order they came; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, unchunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).next()
    }

    /// Every header of this name, as text.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn open(to: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match to {
            Address::Tcp(addr) => {
                let stream = TcpStream::connect(addr).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Self {
            stream,
            buffer: Vec::new(),
            reusable: true,
        })
    }

    /// Whether the server left the connection open for another request.
    #[must_use]
    pub fn reusable(&self) -> bool {
        self.reusable
    }

    /// Sends `request` (head, blank line and body, as it stands) and reads the one answer to it.
    ///
    /// # Errors
    /// When the connection breaks, the answer is not HTTP/1.1, or it takes longer than half a minute.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<Response> {
        let exchange = async {
            // A server may refuse a request before it has read all of it: its answer counts, not the broken pipe.
            let written = self.stream.write_all(request).await;
            let flushed = self.stream.flush().await;
            let response = self.read_response(request.starts_with(b"HEAD ")).await;
            self.reusable &= written.is_ok();
            response.map_err(|e| written.and(flushed).err().unwrap_or(e))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer in half a minute",
            )),
        }
    }

    async fn read_response(&mut self, head_only: bool) -> io::Result<Response> {
        loop {
            let end = self.fill_until_blank_line().await?;
            let head = self.buffer.drain(..end).collect::<Vec<_>>();
            let mut response = parse_head(&head)?;
            if response.status == 100 {
                continue;
            }
            self.reusable &= !response
                .header("connection")
                .is_some_and(|v| v.eq_ignore_ascii_case("close"));
            if !(head_only || matches!(response.status, 101..=199 | 204 | 304)) {
                response.body = self.read_body(&response).await?;
            }
            return Ok(response);
        }
    }

    async fn fill_until_blank_line(&mut self) -> io::Result<usize> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(at + 4);
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(bad("a response head of more than 1 MiB"));
            }
            self.fill().await?;
        }
    }

    async fn read_body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        if response
            .header("transfer-encoding")
            .is_some_and(|v| v.eq_ignore_ascii_case("chunked"))
        {
            return self.read_chunks().await;
        }
        if let Some(length) = response.header("content-length") {
            let length = length
                .trim()
                .parse()
                .map_err(|_| bad("a content-length that is no number"))?;
            return self.take(length).await;
        }
        self.reusable = false;
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.buffer));
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk size that is no number"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.drain(..at + 2).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )),
            read => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<Response> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1."));
    let status = status
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| std::str::from_utf8(code).ok());
    let status = status
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| bad("no HTTP/1 status line"))?;
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or_else(|| bad("a header without colon"))?;
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok(Response {
        status,
        headers,
        body: Vec::new(),
    })
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
