//! Sessions of the demo worker: every read and write is a call of its own core's API.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use limpet_tests::api::{Api, encoded};
use limpet_tests::http::Address;
use serde_json::{Value, json};

const APP: &str = "default";
/// The longest id that is looked up; a longer one is nobody's session.
const ID_MAX: usize = 128;

/// The application's view of its sessions.
pub(crate) struct Sessions {
    api: Api,
    route: String,
    ack: String,
}

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, Vec<u8>>;

/// A session as the core gave it.
pub(crate) struct Stored {
    /// Its attributes.
    pub(crate) attributes: Attributes,
    /// Its life, which a change names so that it never begins a session that ended meanwhile anew.
    pub(crate) life: Option<String>,
}

impl Sessions {
    pub(crate) fn new(core: Address, route: &str, ack: &str) -> Self {
        Self {
            api: Api::new(core),
            route: route.to_owned(),
            ack: ack.to_owned(),
        }
    }

    /// A session, or `None` where the core knows none by this id.
    pub(crate) async fn load(&self, id: &str) -> io::Result<Option<Stored>> {
        if !well_formed(id) {
            return Ok(None);
        }
        let Some(session) = self.api.session(APP, id).await? else {
            return Ok(None);
        };
        let attributes = session
            .get("attributes")
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let decoded = attributes
            .filter_map(|(name, value)| Some((name.clone(), STANDARD.decode(value.as_str()?).ok()?)));
        Ok(Some(Stored {
            attributes: decoded.collect(),
            life: session.get("life").and_then(Value::as_str).map(str::to_owned),
        }))
    }

    /// Sets attributes, and the idle lifetime where one is given; the session is then bound to this worker. With a life,
    /// only if the session still has it. Says how many nodes are known to hold the change.
    pub(crate) async fn save(
        &self,
        id: &str,
        life: Option<&str>,
        set: &Attributes,
        max_inactive: Option<&str>,
    ) -> io::Result<u64> {
        let set: serde_json::Map<_, _> = set
            .iter()
            .map(|(name, value)| (name.clone(), encoded(value)))
            .collect();
        let mut change = json!({ "set": set, "route": self.route });
        if let (Some(limit), Some(change)) = (max_inactive, change.as_object_mut()) {
            change.insert("max_inactive".to_owned(), json!(limit));
        }
        let condition = life.map_or(String::new(), |life| format!("&if=life:{life}"));
        let ack = format!("{}{condition}", self.ack);
        let answer = self.api.patch(APP, id, &ack, &change).await?;
        Ok(copies(&answer))
    }

    /// Gives a session another id, as at every login (session fixation). Says how many nodes are known to hold the change.
    pub(crate) async fn rename(&self, id: &str, to: &str) -> io::Result<u64> {
        let path = format!("/v1/sessions/{APP}/{id}/rename?ack={}", self.ack);
        let body = json!({ "to": to }).to_string();
        let response = self.api.call("POST", &path, body.as_bytes()).await?;
        match response.status {
            200 => Ok(copies(&response.json())),
            status => Err(io::Error::other(format!("{status} {}", response.text()))),
        }
    }

    /// Ends a session. Says how many nodes are known to hold the change; none where there was no such session.
    pub(crate) async fn delete(&self, id: &str) -> io::Result<u64> {
        let response = self
            .api
            .call(
                "DELETE",
                &format!("/v1/sessions/{APP}/{id}?ack={}", self.ack),
                b"",
            )
            .await?;
        match response.status {
            200 | 204 => Ok(copies(&response.json())),
            404 => Ok(0),
            status => Err(io::Error::other(format!("{status} {}", response.text()))),
        }
    }
}

fn copies(answer: &Value) -> u64 {
    answer.get("copies").and_then(Value::as_u64).unwrap_or(1)
}

/// A new id nobody can guess: 16 random bytes in hexadecimal digits.
pub(crate) fn fresh_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect())
}

fn well_formed(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(plain)
}
