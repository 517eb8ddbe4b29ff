//! The cluster as one of its cores sees it: members, workers, and where sessions are bound.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_tests::api::Api;
use serde_json::Value;

/// How long a core may take to answer before another one is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one core said at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The state of every node.
    pub(crate) members: BTreeMap<String, String>,
    /// The status of every worker, by route.
    pub(crate) workers: BTreeMap<String, String>,
    /// The route of every session, by id.
    pub(crate) sessions: BTreeMap<String, String>,
}

impl View {
    /// Asks a core. None where it does not answer, or does not have the whole table.
    pub(crate) async fn of(api: &Api) -> Option<Self> {
        tokio::time::timeout(PATIENCE, async {
            if api.call("GET", "/readyz", b"").await.ok()?.status != 200 {
                return None;
            }
            let (_, members) = api.get("/v1/members").await.ok()?;
            let (_, workers) = api.get("/v1/workers").await.ok()?;
            let sessions = Value::Array(api.list("default").await.ok()?);
            Some(Self {
                members: pairs(&members["members"], "id", "state"),
                workers: pairs(&workers["workers"], "route", "status"),
                sessions: pairs(&sessions, "id", "route"),
            })
        })
        .await
        .ok()?
    }

    /// How many sessions are bound to a route.
    pub(crate) fn bound_to(&self, route: &str) -> usize {
        self.sessions.values().filter(|bound| *bound == route).count()
    }
}

fn pairs(list: &Value, key: &str, value: &str) -> BTreeMap<String, String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((entry[key].as_str()?.to_owned(), entry[value].as_str()?.to_owned())))
        .collect()
}
