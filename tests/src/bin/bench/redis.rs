//! Redis as an operator who wants speed configures it: no files, copies made straight from memory.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use limpet_tests::ports;
use limpet_tests::process::Process;

use crate::cpu::pinned;
use crate::load::{Answers, Load};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(1);

/// A running redis-server.
pub struct Redis {
    /// The process.
    pub process: Process,
    /// Where clients talk to it.
    pub socket: PathBuf,
    /// Where replicas talk to it.
    pub port: u16,
}

impl Redis {
    /// Starts one on `processor`, as a replica of the one at `master` where that is given.
    pub fn spawn(dir: &Path, processor: usize, master: Option<u16>) -> Self {
        let port = ports::free();
        let socket = dir.join(format!("redis-{port}.sock"));
        let mut command = Command::new("redis-server");
        command.current_dir(dir);
        let port_text = port.to_string();
        let options = [
            ("--port", port_text.as_str()),
            ("--bind", "127.0.0.1"),
            ("--save", ""),
            ("--appendonly", "no"),
            ("--repl-diskless-sync", "yes"),
            ("--repl-diskless-sync-delay", "0"),
            ("--repl-diskless-load", "on-empty-db"),
            ("--loglevel", "warning"),
        ];
        for (name, value) in options {
            command.arg(name).arg(value);
        }
        command.arg("--unixsocket").arg(&socket);
        if let Some(master) = master {
            command.args(["--replicaof", "127.0.0.1", &master.to_string()]);
        }
        let process = Process::start(&format!("redis-{port}"), dir, &mut pinned(processor, &command));
        Self {
            process,
            socket,
            port,
        }
    }

    /// Starts one on `processor` and waits until it answers.
    pub async fn start(dir: &Path, processor: usize) -> Self {
        let redis = Self::spawn(dir, processor, None);
        redis.says("role:master").await;
        redis
    }

    /// Waits until its `INFO` has the line `wanted`, looking every millisecond.
    pub async fn says(&self, wanted: &str) {
        let start = Instant::now();
        while !self
            .info()
            .is_some_and(|info| info.lines().any(|line| line == wanted))
        {
            assert!(
                start.elapsed() < PATIENCE,
                "Redis says {wanted} within {PATIENCE:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A number of its `INFO`.
    pub fn number(&self, name: &str) -> f64 {
        let info = self.info().expect("Redis answers");
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = line.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("Redis has no {name}"))
    }

    /// How many keys it holds.
    pub fn keys(&self) -> usize {
        let info = self.info().expect("Redis answers");
        let line = info.lines().find_map(|line| line.strip_prefix("db0:keys="));
        let count = line.and_then(|rest| rest.split(',').next()?.parse().ok());
        count.unwrap_or(0)
    }

    /// Waits until `replica` has everything this one has.
    pub async fn equals(&self, replica: &Self) {
        let goal = format!("slave_repl_offset:{:.0}", self.number("master_repl_offset"));
        replica.says(&goal).await;
    }

    /// Sets every one of these.
    pub fn fill(&self, sessions: &[(String, Vec<u8>)]) {
        let requests: Vec<_> = sessions.chunks(FILL).map(set).collect();
        Load {
            to: &self.socket,
            connections: 2,
            requests: &requests,
            updates: FILL,
            answers: Answers::Resp(FILL),
            pace: None,
        }
        .once();
    }

    fn info(&self) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"INFO\r\n").ok()?;
        let (mut text, mut chunk) = (Vec::new(), [0; 16 << 10]);
        loop {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            text.extend_from_slice(&chunk[..read]);
            let head = text.windows(2).position(|two| two == b"\r\n")?;
            let length: usize = std::str::from_utf8(&text[1..head]).ok()?.parse().ok()?;
            if text.len() >= head + 2 + length + 2 {
                return Some(String::from_utf8_lossy(&text[head + 2..]).into_owned());
            }
        }
    }
}

/// Commands in one request while filling; what is filled is a multiple of it.
const FILL: usize = 1000;

/// The pipeline of commands that sets these.
pub fn set(sessions: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut request = Vec::new();
    for (id, value) in sessions {
        request.extend_from_slice(
            format!("*3\r\n$3\r\nSET\r\n${}\r\n{id}\r\n${}\r\n", id.len(), value.len()).as_bytes(),
        );
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request
}
