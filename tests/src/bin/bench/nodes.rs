//! limpet-core under measurement: started on one processor, filled, asked how it is.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use limpet_tests::api::Api;
use limpet_tests::cluster::Site;
use limpet_tests::http::Address;
use limpet_tests::process::Process;
use limpet_tests::programs;
use limpet_tests::wait;
use limpet_wire::codec;
use limpet_wire::names::REPORT_PATH;
use limpet_wire::report::{Operation, Report};

use crate::cpu::pinned;
use crate::load::{Answers, Load};

/// How long a node may take to be ready, or to catch up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a clock is looked at while waiting for something that is timed.
const LOOK: Duration = Duration::from_millis(1);

/// A running core.
pub struct Node {
    /// The process.
    pub process: Process,
    /// Its API on its unix socket.
    pub api: Api,
    /// That socket.
    pub socket: PathBuf,
    /// The port other nodes dial.
    pub port: u16,
}

impl Node {
    /// Starts the core of `id` on `processor` and waits for nothing.
    pub fn spawn(site: &Site, id: &str, processor: usize) -> Self {
        let plan = site.node(id);
        let file = site.scratch.join(&format!("{id}.toml"));
        std::fs::write(&file, site.toml(id)).expect("a configuration in the bench's directory");
        let mut command = Command::new(programs::ours("limpet-core"));
        command
            .args(["run", "--config"])
            .arg(&file)
            .env("RUST_LOG", "warn");
        let process = Process::start(
            &format!("core-{id}"),
            site.scratch.path(),
            &mut pinned(processor, &command),
        );
        let port = plan.cluster.rsplit(':').next().and_then(|port| port.parse().ok());
        Self {
            process,
            api: Api::new(Address::Unix(plan.socket.clone())),
            socket: plan.socket.clone(),
            port: port.expect("ip:port"),
        }
    }

    /// Starts the core of `id` on `processor` and waits until it is ready.
    pub async fn start(site: &Site, id: &str, processor: usize) -> Self {
        let mut node = Self::spawn(site, id, processor);
        node.ready().await;
        node
    }

    /// Waits for `/readyz` to be 200, looking every millisecond.
    pub async fn ready(&mut self) {
        let start = Instant::now();
        loop {
            assert!(self.process.runs(), "the core ended at once");
            if let Ok(answer) = self.api.call("GET", "/readyz", b"").await
                && answer.status == 200
            {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the core is ready within {PATIENCE:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until both nodes know each other as ready.
    pub async fn sees(&self, members: usize) {
        wait::until("the nodes know each other", PATIENCE, async || {
            let Ok((_, answer)) = self.api.get("/v1/members").await else {
                return false;
            };
            let ready = |member: &&serde_json::Value| member["state"] == "ready";
            answer["members"]
                .as_array()
                .is_some_and(|all| all.iter().filter(ready).count() == members)
        })
        .await;
    }

    /// Waits until `other` holds the same table.
    pub async fn equals(&self, other: &Self) {
        wait::eventually("the nodes hold the same", PATIENCE, async || {
            let ours = self.api.get("/v1/digest").await.map_err(|e| e.to_string())?;
            let theirs = other.api.get("/v1/digest").await.map_err(|e| e.to_string())?;
            if ours == theirs {
                Ok(())
            } else {
                Err(format!("{ours:?} and {theirs:?}"))
            }
        })
        .await;
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self
            .api
            .call("GET", "/metrics", b"")
            .await
            .expect("the core answers");
        let text = answer.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next())?;
            value?.parse::<f64>().ok()
        });
        values.sum()
    }

    /// Sets one attribute of each session, a full report at a time.
    pub fn fill(&self, sessions: &[(String, Vec<u8>)]) {
        let requests: Vec<_> = sessions.chunks(FILL).map(report).collect();
        Load {
            to: &self.socket,
            connections: 2,
            requests: &requests,
            updates: FILL,
            answers: Answers::Reports,
            pace: None,
        }
        .once();
    }
}

/// Sessions in one report while filling: 1 KiB each leaves room below the largest message.
const FILL: usize = 1000;

/// The attribute every update sets.
pub const ATTRIBUTE: &str = "cart";

/// The request that reports one attribute of each of these sessions, as a filter does.
pub fn report(sessions: &[(String, Vec<u8>)]) -> Vec<u8> {
    let operations = sessions.iter().map(|(id, value)| Operation {
        app: "default".to_owned(),
        id: id.clone(),
        touch: true,
        set: vec![(ATTRIBUTE.to_owned(), value.clone())],
        ..Operation::default()
    });
    let report = Report {
        operations: operations.collect(),
    };
    let body = codec::encode(&report).expect("a report that is not too large");
    let mut request = format!(
        "POST {REPORT_PATH} HTTP/1.1\r\nhost: limpet_core\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}

/// How a session id is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// So many hexadecimal digits, as Tomcat makes them: four random bits a character.
    Hexadecimal(usize),
    /// So many letters and digits, as PHP and Express make them: six random bits a character.
    Letters(usize),
}

impl Ids {
    fn random(self) -> String {
        const LETTERS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        let (len, kinds) = match self {
            Self::Hexadecimal(len) => (len, 16),
            Self::Letters(len) => (len, 64),
        };
        let mut bytes = vec![0; len];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        let letters = bytes.iter().map(|byte| LETTERS[usize::from(*byte) % kinds]);
        letters.map(char::from).collect()
    }
}

/// So many sessions with random ids and `value` random bytes.
pub fn sessions(count: usize, ids: Ids, value: usize) -> Vec<(String, Vec<u8>)> {
    let session = |_| {
        let mut bytes = vec![0; value];
        getrandom::fill(&mut bytes).expect("the operating system has randomness");
        (ids.random(), bytes)
    };
    (0..count).map(session).collect()
}
