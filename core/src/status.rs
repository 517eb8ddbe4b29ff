//! `limpet-core status`: asks a node's API and shows what it says.

use std::fmt;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::base::limits::API_BODY_MAX;

/// Why there is no status. The sentence names the address.
#[derive(Debug, thiserror::Error)]
#[error("{api}: {problem}")]
pub struct StatusError {
    api: String,
    problem: String,
}

/// What a node says of itself and its cluster.
#[derive(Debug, Clone)]
pub struct Status {
    members: Value,
    workers: Value,
    digest: Value,
}

/// Asks the API at `api`: `http://ip:port` or `unix:/path`.
///
/// # Errors
/// When it does not answer as an API does.
pub async fn fetch(api: &str) -> Result<Status, StatusError> {
    let fail = |problem: String| StatusError {
        api: api.to_owned(),
        problem,
    };
    Ok(Status {
        members: get(api, "/v1/members").await.map_err(fail)?,
        workers: get(api, "/v1/workers").await.map_err(fail)?,
        digest: get(api, "/v1/digest").await.map_err(fail)?,
    })
}

/// Has the node at `api` count again what it keeps count of; returns how many records it looked at.
///
/// # Errors
/// When it does not answer as an API does, or what it keeps differs from what it counted.
pub async fn selfcheck(api: &str) -> Result<u64, StatusError> {
    let fail = |problem: String| StatusError {
        api: api.to_owned(),
        problem,
    };
    let answer = ask(api, Method::POST, "/v1/selfcheck").await.map_err(fail)?;
    if answer.get("equal").and_then(Value::as_bool) != Some(true) {
        let differences = answer.get("differences").map(ToString::to_string);
        return Err(fail(differences.unwrap_or_default()));
    }
    Ok(answer.get("records").and_then(Value::as_u64).unwrap_or(0))
}

/// Has the node at `api` forget the member `id`.
///
/// # Errors
/// When it does not answer as an API does, or refuses.
pub async fn forget_member(api: &str, id: &str) -> Result<(), StatusError> {
    let answer = ask(api, Method::POST, &format!("/v1/members/{id}/forget")).await;
    answer.map(drop).map_err(|problem| StatusError {
        api: api.to_owned(),
        problem,
    })
}

async fn get(api: &str, path: &str) -> Result<Value, String> {
    ask(api, Method::GET, path).await
}

async fn ask(api: &str, method: Method, path: &str) -> Result<Value, String> {
    if let Some(socket) = api.strip_prefix("unix:") {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| error.to_string())?;
        return exchange(stream, "localhost", method, path).await;
    }
    let host = api
        .strip_prefix("http://")
        .ok_or("http://ip:port or unix:/path is expected")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let stream = TcpStream::connect(host)
        .await
        .map_err(|error| error.to_string())?;
    exchange(stream, host, method, path).await
}

async fn exchange<S>(stream: S, host: &str, method: Method, path: &str) -> Result<Value, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .body(Empty::<bytes::Bytes>::new());
    let reply = sender
        .send_request(request.map_err(|e| e.to_string())?)
        .await
        .map_err(|e| e.to_string())?;
    let status = reply.status();
    let body = Limited::new(reply.into_body(), API_BODY_MAX)
        .collect()
        .await
        .map_err(|e| e.to_string())?;
    let body = body.to_bytes();
    if !status.is_success() {
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let message = answer.as_ref().and_then(|answer| answer.get("message")?.as_str());
        let colon = message.map_or(String::new(), |message| format!(": {message}"));
        return Err(format!("{path} answered {status}{colon}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{path} answered no JSON: {error}"))
}

impl Status {
    /// All of it, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "members": self.members.get("members"),
            "quorum": self.members.get("quorum"),
            "workers": self.workers.get("workers"),
            "sessions": self.digest.get("sessions"),
            "hash": self.digest.get("hash"),
        })
    }
}

/// How the majority is, in sentences.
fn quorum_text(quorum: &Value) -> String {
    let number = |key| quorum.get(key).and_then(Value::as_u64).unwrap_or(0);
    let missing = quorum.get("missing").and_then(Value::as_array);
    let missing: Vec<_> = missing.into_iter().flatten().filter_map(Value::as_str).collect();
    let (voters, needed) = (number("voters"), number("needed"));
    if voters == 0 {
        return format!(
            "QUORUM  WARNING: not founded: conditional changes wait until {needed} nodes have met\n"
        );
    }
    let mut text = format!("QUORUM  {needed} of {voters} members have to agree to a conditional change\n");
    if !missing.is_empty() {
        text += &format!("missing: {}\n", missing.join(", "));
    }
    if quorum.get("reached").and_then(Value::as_bool) == Some(false) {
        text += "WARNING: too few can be reached, so conditional changes are refused; start them, or of dead ones: limpet-core member forget ID\n";
    } else if voters == 2 {
        text += "with two members conditional changes stop when one is gone\n";
    }
    text
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value, key: &str| match value.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "-".into(),
        };
        let rows = |value: &Value, key: &str| {
            value
                .get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        writeln!(
            f,
            "{:<20} {:<24} {:<9} waiting for it (bytes)",
            "MEMBER", "ADDRESS", "STATE"
        )?;
        for member in rows(&self.members, "members") {
            let (id, addr, state) = (text(&member, "id"), text(&member, "addr"), text(&member, "state"));
            writeln!(
                f,
                "{id:<20} {addr:<24} {state:<9} {}",
                text(&member, "queue_bytes")
            )?;
        }
        for member in rows(&self.members, "members") {
            if let Some(problem) = member.get("problem").and_then(Value::as_str) {
                writeln!(f, "\nWARNING: {}: {problem}", text(&member, "id"))?;
            }
        }
        if let Some(quorum) = self.members.get("quorum") {
            write!(f, "\n{}", quorum_text(quorum))?;
        }
        writeln!(
            f,
            "\n{:<20} {:<24} {:<9} {:<6} URL",
            "WORKER", "NODE", "STATUS", "WEIGHT"
        )?;
        for worker in rows(&self.workers, "workers") {
            let (route, node, status) = (
                text(&worker, "route"),
                text(&worker, "node"),
                text(&worker, "status"),
            );
            writeln!(
                f,
                "{route:<20} {node:<24} {status:<9} {:<6} {}",
                text(&worker, "weight"),
                text(&worker, "url")
            )?;
        }
        writeln!(
            f,
            "\n{} sessions, table {}",
            text(&self.digest, "sessions"),
            text(&self.digest, "hash")
        )
    }
}
