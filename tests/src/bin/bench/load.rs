//! The load: a few connections to a unix socket, each with one request under way, kept busy in turn by one thread.
//!
//! Requests are made before the clock starts, and sent and read with blocking calls: two system calls each, so that
//! the load stays cheaper than what it measures.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use limpet_wire::codec;
use limpet_wire::report::Reply;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// HTTP/1.1, status 200, with a length; its body is not looked at.
    Http,
    /// The same with an encoded reply to a report, which must refuse nothing.
    Reports,
    /// So many times `+OK` of Redis.
    Resp(usize),
}

/// What to send, and how.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The socket.
    pub to: &'a Path,
    /// How many connections, and so how many requests under way.
    pub connections: usize,
    /// Whole requests, sent in turn, over and over.
    pub requests: &'a [Vec<u8>],
    /// How many updates one request makes.
    pub updates: usize,
    /// How an answer looks.
    pub answers: Answers,
    /// At most so many updates per second; without it, as many as are answered.
    pub pace: Option<f64>,
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Updates that were answered.
    pub updates: f64,
    /// From the first request to the last answer.
    pub seconds: f64,
}

impl Load<'_> {
    /// Sends requests for `window`, then waits for the answers to come.
    ///
    /// # Panics
    /// When one is missing or not what it should be: such a figure would be a lie.
    pub fn run(&self, window: Duration) -> Done {
        self.send_while(|_, elapsed| elapsed < window)
    }

    /// Sends every request once.
    pub fn once(&self) -> Done {
        self.send_while(|sent, _| sent < self.requests.len())
    }

    fn send_while(&self, more: impl Fn(usize, Duration) -> bool) -> Done {
        let mut all: Vec<_> = (0..self.connections).map(|_| Talk::open(self.to)).collect();
        let mut requests = self.requests.iter().cycle();
        let (mut sent, start) = (0, Instant::now());
        loop {
            let mut under_way = false;
            for talk in &mut all {
                if talk.waits {
                    talk.read(self.answers);
                }
                self.keep_pace(sent, start);
                if more(sent, start.elapsed()) {
                    talk.write(requests.next().expect("requests to send"));
                    sent += 1;
                }
                under_way |= talk.waits;
            }
            if !under_way {
                break;
            }
        }
        Done {
            updates: (sent * self.updates) as f64,
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    fn keep_pace(&self, sent: usize, start: Instant) {
        if let Some(pace) = self.pace {
            let due = Duration::from_secs_f64((sent * self.updates) as f64 / pace);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

struct Talk {
    stream: UnixStream,
    buffer: Vec<u8>,
    filled: usize,
    waits: bool,
}

impl Talk {
    fn open(to: &Path) -> Self {
        let stream =
            UnixStream::connect(to).unwrap_or_else(|e| panic!("cannot connect to {}: {e}", to.display()));
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .expect("a socket takes timeouts");
        Self {
            stream,
            buffer: vec![0; 64 << 10],
            filled: 0,
            waits: false,
        }
    }

    fn write(&mut self, request: &[u8]) {
        self.stream
            .write_all(request)
            .expect("the server takes the request");
        self.waits = true;
    }

    fn read(&mut self, answers: Answers) {
        loop {
            if answers.complete(&self.buffer[..self.filled]) {
                (self.filled, self.waits) = (0, false);
                return;
            }
            let read = self
                .stream
                .read(&mut self.buffer[self.filled..])
                .expect("an answer in time");
            assert!(read > 0, "the server closed the connection");
            self.filled += read;
        }
    }
}

impl Answers {
    /// Whether `bytes` are the whole answer to one request.
    fn complete(self, bytes: &[u8]) -> bool {
        if let Self::Resp(count) = self {
            assert!(
                bytes.iter().zip(b"+OK\r\n".iter().cycle()).all(|(a, b)| a == b),
                "Redis said {}",
                String::from_utf8_lossy(bytes)
            );
            return bytes.len() == 5 * count;
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
        assert!(
            head.starts_with("HTTP/1.1 200"),
            "the core said {}",
            String::from_utf8_lossy(bytes)
        );
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length
            .and_then(|length| length.trim().parse().ok())
            .expect("an answer with a length");
        let body = &bytes[end + 4..];
        if body.len() < length {
            return false;
        }
        if self == Self::Reports {
            let reply: Reply = codec::decode(body).expect("a reply to the report");
            assert!(reply.refused.is_empty(), "the core refused: {:?}", reply.refused);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Answers;

    #[test]
    fn an_answer_is_complete_when_all_of_it_is_there() {
        let http = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert!(Answers::Http.complete(http));
        assert!(!Answers::Http.complete(&http[..http.len() - 1]));
        assert!(!Answers::Http.complete(&http[..20]));
        assert!(Answers::Resp(2).complete(b"+OK\r\n+OK\r\n"));
        assert!(!Answers::Resp(2).complete(b"+OK\r\n+O"));
    }
}
