//! One call of one node, on a connection of its own, tried once: so what became of it is known as far as it can be.

use std::io::ErrorKind;
use std::time::Instant;

use limpet_tests::http::{Address, Connection};
use serde_json::Value;

use crate::ledger::Outcome;
use crate::world::{Tally, World};

/// What a caller is left with.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status and the JSON that came with it.
    Http(u16, Value),
    /// Nobody listens: the request was not sent.
    Refused(String),
    /// The connection broke after the request was sent.
    Broken(String),
    /// No answer in half a minute.
    TimedOut,
}

impl Answer {
    /// What became of a change, where the answer does not say that it was made.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Http(200..=299, body) => Outcome::Acked(body["copies"].as_u64().unwrap_or(1)),
            Self::Http(..) | Self::Refused(_) => Outcome::Refused,
            Self::Broken(_) => Outcome::Unknown,
            Self::TimedOut => Outcome::Loose,
        }
    }

    /// Its status; 0 where there was none.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Http(status, _) => *status,
            _ => 0,
        }
    }
}

/// The longest answer that a story tells whole.
const TOLD_MAX: usize = 400;

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(status, body) => {
                let text = shown(body).to_string();
                write!(f, "{status} {}", text.get(..TOLD_MAX).unwrap_or(&text))
            }
            Self::Refused(e) => write!(f, "cannot connect: {e}"),
            Self::Broken(e) => write!(f, "no answer: {e}"),
            Self::TimedOut => write!(f, "no answer in half a minute"),
        }
    }
}

/// An answer with its attributes readable.
fn shown(body: &Value) -> Value {
    let mut body = body.clone();
    let values = attributes(&body);
    if let Some(attributes) = body.get_mut("attributes").and_then(Value::as_object_mut) {
        for (name, value) in values {
            attributes.insert(name, Value::String(value));
        }
    }
    body
}

/// The attributes of a session as text.
#[must_use]
pub fn attributes(session: &Value) -> crate::ledger::Values {
    let all = session["attributes"].as_object().into_iter().flatten();
    let decoded = all.filter_map(|(name, _)| {
        let bytes = limpet_tests::api::attribute(session, name)?;
        Some((name.clone(), String::from_utf8_lossy(&bytes).into_owned()))
    });
    decoded.collect()
}

/// Calls `method path` at an address.
pub async fn call(world: &World, to: &Address, method: &str, path: &str, body: &Value) -> Answer {
    let began = Instant::now();
    let answer = exchange(to, method, path, body).await;
    let tally = &world.tally;
    Tally::add(&tally.requests);
    match answer.status() {
        0 => Tally::add(&tally.unanswered),
        502..=504 => Tally::add(&tally.unavailable),
        _ => {}
    }
    if answer.status() != 0 {
        tally.took(false, began.elapsed());
    }
    answer
}

async fn exchange(to: &Address, method: &str, path: &str, body: &Value) -> Answer {
    let mut connection = match Connection::open(to).await {
        Ok(connection) => connection,
        Err(e) => return Answer::Refused(e.to_string()),
    };
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: core\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    match connection.send(request.as_bytes()).await {
        Ok(response) => {
            let json = response.json();
            // What is no JSON is told as text.
            let json = if json.is_null() {
                Value::String(response.text())
            } else {
                json
            };
            Answer::Http(response.status, json)
        }
        Err(e) if e.kind() == ErrorKind::TimedOut => Answer::TimedOut,
        Err(e) => Answer::Broken(e.to_string()),
    }
}
