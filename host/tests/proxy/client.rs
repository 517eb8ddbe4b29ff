//! A client that writes what it is told and reads one answer at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    rest: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self {
            stream,
            rest: Vec::new(),
        }
    }

    /// Sends a request without a body; `lines` are further header lines, each ended.
    pub(crate) fn get(&mut self, path: &str, lines: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: shop\r\n{lines}\r\n"));
        self.read()
    }

    pub(crate) fn post(&mut self, path: &str, lines: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: shop\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
        ));
        self.read()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Reads one answer to a request other than HEAD.
    pub(crate) fn read(&mut self) -> Answer {
        let (status, headers) = self.read_head();
        let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let body = if status == 204 || status == 304 || status < 200 {
            Vec::new()
        } else if find("transfer-encoding").as_deref() == Some("chunked") {
            self.read_chunks()
        } else {
            let length = find("content-length").map(|text| text.parse().unwrap());
            self.take(length.unwrap_or_else(|| panic!("no length in {headers:?}")))
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    pub(crate) fn read_head(&mut self) -> (u16, Vec<(String, String)>) {
        let head = self.line_until("\r\n\r\n");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        (status, fields.collect())
    }

    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line_until("\r\n");
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            body.extend(self.take(size));
            self.line_until("\r\n");
            if size == 0 {
                return body;
            }
        }
    }

    pub(crate) fn line_until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self
                .rest
                .windows(end.len())
                .position(|window| window == end.as_bytes())
            {
                let tail = self.rest.split_off(at + end.len());
                let line = std::mem::replace(&mut self.rest, tail);
                return String::from_utf8_lossy(&line).into_owned();
            }
            self.more();
        }
    }

    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        while self.rest.len() < len {
            self.more();
        }
        let tail = self.rest.split_off(len);
        std::mem::replace(&mut self.rest, tail)
    }

    fn more(&mut self) {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer).expect("an answer in time");
        assert!(
            read > 0,
            "the connection ended after {:?}",
            String::from_utf8_lossy(&self.rest)
        );
        self.rest.extend_from_slice(&buffer[..read]);
    }

    /// Whether the other side ends the connection without sending anything more.
    pub(crate) fn ends(&mut self) -> bool {
        let mut buffer = [0; 1];
        self.rest.is_empty() && matches!(self.stream.read(&mut buffer), Ok(0) | Err(_))
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}
