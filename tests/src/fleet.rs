//! Several cores, each in a network namespace of its own, and what can happen to them.
//!
//! Fleets are many processes, so only a few of them run at a time, whatever the number of test threads.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_wire::report::{Operation, Report};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{attribute, encoded};
use crate::cluster::{Core, NodePlan, Site};
use crate::http::Address;
use crate::namespace::Network;
use crate::wait;
use crate::writers::APP;

/// How many fleets run at the same time.
const FLEETS: u32 = 2;
/// How long a fleet may take until every node is ready and knows it of every other.
const ASSEMBLED: Duration = Duration::from_secs(20);
/// How many sessions one report carries.
const REPORT: usize = 500;

static TURNS: Semaphore = Semaphore::const_new(FLEETS as usize);

/// See the module page. Dropping it kills what runs, then removes the network.
pub struct Fleet {
    cores: BTreeMap<String, Core>,
    /// The ground it stands on.
    pub site: Site,
    _turn: SemaphorePermit<'static>,
}

impl Fleet {
    /// Plans nodes and makes their network; none is started. `change` is applied to every plan.
    pub async fn planned(name: &str, ids: &[&str], change: impl Fn(&mut NodePlan)) -> Self {
        Self::with_turn(name, ids, change, 1).await
    }

    /// Like [`Fleet::planned`], with no other fleet beside it: for claims about time.
    pub async fn alone(name: &str, ids: &[&str], change: impl Fn(&mut NodePlan)) -> Self {
        Self::with_turn(name, ids, change, FLEETS).await
    }

    /// Plans, starts and assembles all of them.
    pub async fn assembled(name: &str, ids: &[&str], change: impl Fn(&mut NodePlan)) -> Self {
        let mut fleet = Self::planned(name, ids, change).await;
        fleet.assemble(ids).await;
        fleet
    }

    async fn with_turn(name: &str, ids: &[&str], change: impl Fn(&mut NodePlan), share: u32) -> Self {
        let turn = TURNS.acquire_many(share).await.expect("never closed");
        let mut site = Site::apart(name, ids);
        for id in ids {
            site.change(id, &change);
        }
        Self {
            cores: BTreeMap::new(),
            site,
            _turn: turn,
        }
    }

    /// Starts these and waits until all that run are ready and know it of each other.
    pub async fn assemble(&mut self, ids: &[&str]) {
        for id in ids {
            self.begin(id);
        }
        for id in ids {
            self.get_mut(id).ready(ASSEMBLED).await;
        }
        self.see_each_other(ASSEMBLED).await;
    }

    /// Starts a node and waits for nothing.
    pub fn begin(&mut self, id: &str) {
        let core = self.site.start_core(id);
        self.cores.insert(id.to_owned(), core);
    }

    /// Starts a node and waits until it is ready.
    pub async fn start(&mut self, id: &str, within: Duration) {
        self.begin(id);
        self.get_mut(id).ready(within).await;
    }

    /// SIGKILL.
    pub fn kill(&mut self, id: &str) {
        self.take(id).process.kill();
    }

    /// SIGTERM, and waits for its clean end.
    pub async fn stop(&mut self, id: &str, within: Duration) {
        let status = self.take(id).process.terminate(within).await;
        assert!(status.success(), "{id}: SIGTERM is a clean end, not {status}");
    }

    /// A node that runs.
    #[must_use]
    pub fn core(&self, id: &str) -> &Core {
        self.cores.get(id).unwrap_or_else(|| panic!("{id} does not run"))
    }

    /// Every node that runs.
    pub fn running(&self) -> impl Iterator<Item = &Core> {
        self.cores.values()
    }

    /// Where a node's API is.
    #[must_use]
    pub fn address(&self, id: &str) -> Address {
        Address::Unix(self.site.node(id).socket.clone())
    }

    /// The network between them.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.site.network()
    }

    /// Waits until every node that runs sees every other as ready.
    pub async fn see_each_other(&self, within: Duration) {
        let ids: Vec<_> = self.cores.keys().map(String::as_str).collect();
        for id in &ids {
            self.sees(id, &ids, &["ready"], within).await;
        }
    }

    /// Waits until `id` sees all of `others` in one of `states`; itself is left out.
    pub async fn sees(&self, id: &str, others: &[&str], states: &[&str], within: Duration) {
        let what = format!("{id} sees {others:?} as one of {states:?}");
        wait::eventually(&what, within, async || {
            for other in others.iter().filter(|other| **other != id) {
                let state = self.core(id).state_of(other).await;
                if !state.as_deref().is_some_and(|state| states.contains(&state)) {
                    return Err(format!("{other} is {state:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until every node that runs has the same table; returns how many sessions it has.
    pub async fn agree(&self, within: Duration) -> u64 {
        wait::eventually("all tables are equal", within, async || {
            let mut digests = BTreeMap::new();
            for (id, core) in &self.cores {
                digests.insert(id, core.digest().await?);
            }
            let first = digests.values().next().cloned().ok_or("nobody runs")?;
            if digests.values().all(|digest| *digest == first) {
                Ok(first.0)
            } else {
                Err(format!("{digests:?}"))
            }
        })
        .await
    }

    /// Creates `count` sessions `<prefix>0`, `<prefix>1` and so on at a node, each with `bytes` in its attribute `x`.
    pub async fn fill(&self, id: &str, prefix: &str, count: usize, bytes: usize) {
        let numbers: Vec<_> = (0..count).collect();
        for part in numbers.chunks(REPORT) {
            let operation = |number: &usize| Operation {
                app: APP.to_owned(),
                id: format!("{prefix}{number}"),
                set: vec![("x".to_owned(), vec![b'x'; bytes])],
                ..Operation::default()
            };
            let operations = part.iter().map(operation).collect();
            let reply = self.core(id).api.report(&Report { operations }, "none").await;
            let refused = reply.expect("an answer").refused;
            assert!(refused.is_empty(), "{refused:?}");
        }
    }

    /// Sets an attribute at a node; says how many copies there were when it answered.
    pub async fn set(&self, at: &str, id: &str, name: &str, value: &str, ack: &str) -> u64 {
        let change = json!({ "set": { name: encoded(value) } });
        let answer = self.core(at).api.patch(APP, id, ack, &change).await;
        let answer = answer.unwrap_or_else(|e| panic!("{at} does not take {id}: {e}"));
        answer["copies"].as_u64().expect("copies")
    }

    /// Ends a session at a node.
    pub async fn end(&self, at: &str, id: &str) {
        let path = format!("/v1/sessions/{APP}/{id}");
        let answer = self.core(at).api.call("DELETE", &path, b"").await;
        let answer = answer.expect("an answer");
        assert!((200..300).contains(&answer.status), "{}", answer.text());
    }

    /// A session as a node has it.
    pub async fn get(&self, at: &str, id: &str) -> Option<Value> {
        let session = self.core(at).api.session(APP, id).await;
        session.unwrap_or_else(|e| panic!("{at} does not answer for {id}: {e}"))
    }

    /// An attribute of a session as a node has it.
    pub async fn text(&self, at: &str, id: &str, name: &str) -> Option<String> {
        let bytes = attribute(&self.get(at, id).await?, name)?;
        String::from_utf8(bytes).ok()
    }

    /// A node that is to become ready.
    pub async fn ready(&mut self, id: &str, within: Duration) {
        self.get_mut(id).ready(within).await;
    }

    /// A value of a node's metrics, see [`crate::api::Api::metric`].
    pub async fn metric(&self, id: &str, name: &str, label: &str) -> u64 {
        let value = self.core(id).api.metric(name, label).await;
        value.unwrap_or_else(|e| panic!("{id} does not tell its metrics: {e}"))
    }

    fn get_mut(&mut self, id: &str) -> &mut Core {
        self.cores
            .get_mut(id)
            .unwrap_or_else(|| panic!("{id} does not run"))
    }

    fn take(&mut self, id: &str) -> Core {
        self.cores
            .remove(id)
            .unwrap_or_else(|| panic!("{id} does not run"))
    }
}
