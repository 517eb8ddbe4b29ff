//! What a client of the core's API does to one session at one node, written into the ledger before and after, and every
//! answer compared with it.

use std::sync::Arc;

use limpet_tests::api::encoded;
use limpet_tests::writers::APP;
use serde_json::{Value, json};

use crate::caller::{self, Answer};
use crate::ledger::{At, Broken, Ledger, Look, Outcome, Values};
use crate::world::{World, node_name};

/// How long a change waits for copies, in milliseconds.
const WAIT_MS: u64 = 3000;

/// Which session is asked for at which node, and by which of its ids.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The session, by the name the soak gave it.
    pub name: &'a str,
    /// The id that the client knows.
    pub id: &'a str,
    /// The node that is asked.
    pub node: usize,
}

/// A client of the core's API.
#[derive(Clone)]
pub struct Operations {
    /// What all share.
    pub world: Arc<World>,
    /// Its name, which its values carry.
    pub writer: String,
}

impl Operations {
    async fn ask(&self, name: &str, node: usize, method: &str, path: &str, body: &Value) -> (Answer, At) {
        let world = &self.world;
        let begun = world.now();
        let path = format!("/v1/sessions/{APP}/{path}");
        let answer = match world.nodes.get(node) {
            Some(to) => caller::call(world, to, method, &path, body).await,
            None => Answer::Refused("no such node".to_owned()),
        };
        let now = world.now();
        let took = (now - begun).as_millis();
        let line = format!(
            "{} at {} ({took} ms): {method} {path} {} -> {answer}",
            self.writer,
            node_name(node),
            text(body)
        );
        world.ledger().session(name).tell(begun, line);
        (answer, now)
    }

    /// Compares an answer for `id` with the ledger, apart from what it says of a change.
    fn check(&self, name: &str, id: &str, look: &Look, answer: &Answer, values: Option<&Values>) {
        let world = &self.world;
        let result = {
            let ledger = world.ledger();
            match answer.status() {
                200..=299 => ledger.on_found(name, id, look, values),
                404 | 412 => ledger.on_absent(name, id, look),
                0 | 503 => return,
                _ => Err(Broken {
                    claim: "answer",
                    what: "that is no answer to such a request".to_owned(),
                }),
            }
        };
        let told = format!("{} answers {answer}", node_name(look.instance.node));
        world.judge(Some(name), &told, result);
    }

    /// Creates a session with the counter at its first value.
    pub async fn create(&self, node: usize, ack: &str) -> String {
        let world = &self.world;
        let name = world.fresh();
        let id = format!("{name}-0");
        let look = world.look(node);
        let value = {
            let mut ledger = world.ledger();
            ledger.begin(&name, &id, look.instance, look.begun);
            ledger
                .session(&name)
                .write("n", None, &self.writer, look.instance, look.begun)
        };
        let path = format!("{id}?ack={ack}&timeout_ms={WAIT_MS}");
        let (answer, now) = self
            .ask(&name, node, "PATCH", &path, &set("n", &value.to_string()))
            .await;
        let mut ledger = world.ledger();
        let session = ledger.session(&name);
        if let Answer::Http(200, body) = &answer {
            session.learn_life(body["life"].as_str());
        }
        session.created(answer.outcome(), now);
        session.written(value.number, answer.outcome(), now);
        name
    }

    /// Reads it; its values where it is there.
    pub async fn read(&self, at: Target<'_>) -> Option<Values> {
        let Target { name, id, node } = at;
        let look = self.world.look(node);
        let (answer, _) = self.ask(name, node, "GET", id, &Value::Null).await;
        let values = match &answer {
            Answer::Http(200, body) => {
                self.world
                    .ledger()
                    .session(name)
                    .learn_life(body["life"].as_str());
                Some(caller::attributes(body))
            }
            _ => None,
        };
        self.check(name, id, &look, &answer, values.as_ref());
        values
    }

    /// Writes an attribute; `base` is the write that was read there before.
    pub async fn write(&self, at: Target<'_>, attribute: &'static str, base: Option<u64>, ack: &str) {
        let Target { name, id, node } = at;
        let look = self.world.look(node);
        let (value, life) = {
            let mut ledger = self.world.ledger();
            let session = ledger.session(name);
            let value = session.write(attribute, base, &self.writer, look.instance, look.begun);
            let life = session.life().map(|life| format!("&if=life:{life}"));
            (value, life)
        };
        let conditional = life.is_some();
        let path = format!("{id}?ack={ack}&timeout_ms={WAIT_MS}{}", life.unwrap_or_default());
        let change = set(attribute, &value.to_string());
        let (answer, now) = self.ask(name, node, "PATCH", &path, &change).await;
        self.world
            .ledger()
            .session(name)
            .written(value.number, answer.outcome(), now);
        // A change that says which life it is for follows a rename: the old id answering it is right.
        if conditional && !matches!(answer.status(), 200..=299) {
            self.check(name, id, &look, &answer, None);
        }
    }

    /// Reads the counter at a node and writes the next value there.
    pub async fn increment(&self, at: Target<'_>, ack: &str) {
        if let Some(values) = self.read(at).await {
            self.write(at, "n", Ledger::number_of(&values, "n"), ack).await;
        }
    }

    /// Touches it.
    pub async fn touch(&self, at: Target<'_>) {
        let Target { name, id, node } = at;
        let look = self.world.look(node);
        let (answer, _) = self
            .ask(name, node, "POST", &format!("{id}/touch"), &Value::Null)
            .await;
        self.check(name, id, &look, &answer, None);
    }

    /// Gives it another id.
    pub async fn rename(&self, at: Target<'_>, ack: &str) {
        let Target { name, id, node } = at;
        let look = self.world.look(node);
        let to = {
            let mut ledger = self.world.ledger();
            let to = ledger.session(name).fresh_id();
            ledger.rename(name, &to, look.instance, look.begun);
            to
        };
        let path = format!("{id}/rename?ack={ack}&timeout_ms={WAIT_MS}");
        let (answer, now) = self.ask(name, node, "POST", &path, &json!({ "to": to })).await;
        self.world
            .ledger()
            .session(name)
            .renamed(&to, answer.outcome(), now);
        if !matches!(answer.status(), 200..=299) {
            self.check(name, id, &look, &answer, None);
        }
    }

    /// Ends it.
    pub async fn end(&self, at: Target<'_>, ack: &str) {
        let Target { name, id, node } = at;
        let look = self.world.look(node);
        self.world
            .ledger()
            .session(name)
            .finish(look.instance, look.begun);
        let path = format!("{id}?ack={ack}&timeout_ms={WAIT_MS}");
        let (answer, now) = self.ask(name, node, "DELETE", &path, &Value::Null).await;
        let outcome = answer.outcome();
        self.world.ledger().session(name).finished(outcome, now);
        if outcome == Outcome::Refused {
            self.check(name, id, &look, &answer, None);
        }
    }
}

fn set(attribute: &str, value: &str) -> Value {
    json!({ "set": { attribute: encoded(value) } })
}

/// A change as a story tells it: with its values readable.
fn text(body: &Value) -> String {
    let set = body["set"].as_object().into_iter().flatten();
    let pairs: Vec<_> = set
        .filter_map(|(name, value)| {
            let wrapped = json!({ "attributes": { name.clone(): value } });
            let bytes = limpet_tests::api::attribute(&wrapped, name)?;
            Some(format!("{name}={}", String::from_utf8_lossy(&bytes)))
        })
        .collect();
    match body {
        Value::Null => String::new(),
        _ if pairs.is_empty() => body.to_string(),
        _ => pairs.join(" "),
    }
}
