//! What an answer of a demo worker says of the visitor's session: who gave it, which id, what it holds.

use limpet_tests::http::Response;

use crate::ledger::{Instance, Look, Values};
use crate::stage::NODES;

const COOKIE: &str = "JSESSIONID";
/// The longest answer that a story tells whole.
const TOLD_MAX: usize = 300;

/// See the module page.
pub struct Page {
    /// The node whose worker answered, as it was when it was asked.
    pub instance: Instance,
    /// The id of the session.
    pub id: String,
    /// `fresh` where a session began with this answer, `known`, or `renamed`.
    pub session: String,
    /// How many nodes were known to hold what the answer changed.
    pub copies: Option<u64>,
    /// What the session holds, where the answer shows it.
    pub values: Values,
}

impl Page {
    /// Reads an answer that a worker gave whose core served it; `id` is what the client asked for.
    #[must_use]
    pub fn read(answer: &Response, id: &str, looks: &[Look]) -> Option<Self> {
        if !matches!(answer.status, 200 | 303) {
            return None;
        }
        let set = answer.all("set-cookie").find_map(|cookie| {
            let value = cookie.strip_prefix(COOKIE)?.strip_prefix('=')?.to_owned();
            Some(value.split([';', '.']).next()?.to_owned())
        });
        let json = answer.json();
        let values = json["attributes"].as_object().into_iter().flatten();
        let values = values.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Self {
            instance: instance(answer, looks)?,
            session: answer.header("x-session")?,
            id: set.unwrap_or_else(|| id.to_owned()),
            copies: copies(answer),
            values: values.collect(),
        })
    }

    /// Whether a session began with this answer.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.session == "fresh"
    }
}

/// The node whose worker answered, as it was when it was asked.
#[must_use]
pub fn instance(answer: &Response, looks: &[Look]) -> Option<Instance> {
    let worker = answer.header("x-worker")?;
    let node = NODES.iter().position(|node| *node == worker)?;
    looks.get(node).map(|look| look.instance)
}

/// How many nodes were known to hold what the answer changed; `None` where nothing was.
#[must_use]
pub fn copies(answer: &Response) -> Option<u64> {
    answer
        .header("x-copies")?
        .parse()
        .ok()
        .filter(|copies| *copies > 0)
}

/// An answer as a story tells it.
#[must_use]
pub fn told(writer: &str, what: &str, value: &str, answer: Option<&Response>) -> String {
    let Some(answer) = answer else {
        return format!("{writer}: {what} {value} -> no answer");
    };
    let header = |name: &str| {
        answer
            .header(name)
            .map_or(String::new(), |value| format!(" {name}={value}"))
    };
    let headers = ["x-worker", "x-copies", "x-session", "set-cookie"]
        .map(header)
        .concat();
    let text = answer.text();
    format!(
        "{writer}: {what} {value} -> {}{headers} {}",
        answer.status,
        text.get(..TOLD_MAX).unwrap_or(&text)
    )
}
