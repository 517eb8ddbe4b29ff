//! Calls of a core's API, over TCP or its unix socket, as an application or an operator makes them.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use limpet_wire::codec;
use limpet_wire::names;
use limpet_wire::report::{Reply, Report};
use limpet_wire::table::WorkerTable;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::http::{Address, Connection, Response};

/// The most idle connections kept for the next call.
const IDLE_MAX: usize = 8;

/// A core's API.
pub struct Api {
    to: Address,
    idle: Mutex<Vec<Connection>>,
}

impl Api {
    /// The API at `to`; nothing is opened yet.
    #[must_use]
    pub fn new(to: Address) -> Self {
        Self {
            to,
            idle: Mutex::default(),
        }
    }

    /// One call. A kept connection that turns out to be closed is replaced once by a fresh one.
    ///
    /// # Errors
    /// When the core cannot be reached or breaks off.
    pub async fn call(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: core\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        let kept = self.idle.lock().await.pop();
        if let Some(mut connection) = kept
            && let Ok(response) = connection.send(&request).await
        {
            self.keep(connection).await;
            return Ok(response);
        }
        let mut connection = Connection::open(&self.to).await?;
        let response = connection.send(&request).await?;
        self.keep(connection).await;
        Ok(response)
    }

    async fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().await;
        if connection.reusable() && idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    /// GET and its JSON, whatever the status.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn get(&self, path: &str) -> io::Result<(u16, Value)> {
        let response = self.call("GET", path, b"").await?;
        Ok((response.status, response.json()))
    }

    /// The session, or `None` where there is none.
    ///
    /// # Errors
    /// As [`Api::call`], and for an answer that is neither 200 nor 404.
    pub async fn session(&self, app: &str, id: &str) -> io::Result<Option<Value>> {
        match self.get(&format!("/v1/sessions/{app}/{id}")).await? {
            (200, value) => Ok(Some(value)),
            (404, _) => Ok(None),
            (status, value) => Err(io::Error::other(format!("{status} {value}"))),
        }
    }

    /// PATCH of a session with `ack`.
    ///
    /// # Errors
    /// As [`Api::call`], and for an answer other than 200.
    pub async fn patch(&self, app: &str, id: &str, ack: &str, change: &Value) -> io::Result<Value> {
        let path = format!("/v1/sessions/{app}/{id}?ack={ack}");
        let response = self.call("PATCH", &path, change.to_string().as_bytes()).await?;
        match response.status {
            200 => Ok(response.json()),
            status => Err(io::Error::other(format!("{status} {}", response.text()))),
        }
    }

    /// Everything the core lists of `app`, page after page. Asking the list is no use of a session.
    ///
    /// # Errors
    /// As [`Api::call`], and for an answer other than 200.
    pub async fn list(&self, app: &str) -> io::Result<Vec<Value>> {
        let (mut listed, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/sessions?app={app}&limit=1000{after}");
            let (status, page) = self.get(&path).await?;
            if status != 200 {
                return Err(io::Error::other(format!("{status} {page}")));
            }
            listed.extend(page["sessions"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(listed),
            }
        }
    }

    /// Whether the core lists `id`.
    ///
    /// # Errors
    /// As [`Api::list`].
    pub async fn lists(&self, app: &str, id: &str) -> io::Result<bool> {
        Ok(self.list(app).await?.iter().any(|session| session["id"] == id))
    }

    /// A value of `GET /metrics`: the sum over every line of `name` whose labels contain `label`.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn metric(&self, name: &str, label: &str) -> io::Result<u64> {
        let page = self.call("GET", "/metrics", b"").await?.text();
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        Ok(page.lines().filter(of_name).filter_map(value).sum::<f64>() as u64)
    }

    /// The worker table, as filters get it.
    ///
    /// # Errors
    /// As [`Api::call`], and when the answer is not a table.
    pub async fn table(&self) -> io::Result<WorkerTable> {
        let response = self.call("GET", names::TABLE_PATH, b"").await?;
        codec::decode(&response.body).map_err(io::Error::other)
    }

    /// A report, as filters send it.
    ///
    /// # Errors
    /// As [`Api::call`], and when the answer is not a reply.
    pub async fn report(&self, report: &Report, ack: &str) -> io::Result<Reply> {
        let body = codec::encode(report).map_err(io::Error::other)?;
        let path = format!("{}?ack={ack}&timeout_ms=30000", names::REPORT_PATH);
        let response = self.call("POST", &path, &body).await?;
        match response.status {
            200 => codec::decode(&response.body).map_err(io::Error::other),
            status => Err(io::Error::other(format!("{status} {}", response.text()))),
        }
    }
}

/// An attribute of a session as JSON gives it, decoded.
#[must_use]
pub fn attribute(session: &Value, name: &str) -> Option<Vec<u8>> {
    STANDARD.decode(session["attributes"][name].as_str()?).ok()
}

/// Bytes as the API wants them in JSON.
#[must_use]
pub fn encoded(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(bytes))
}
