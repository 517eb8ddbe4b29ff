//! Applications at work: sessions whose one attribute counts 1, 2, 3 and so on, and what the cluster said to each step.
//!
//! A counter has one writer, who goes to the nodes in the order given and moves on to the next when one cannot be
//! reached or is not ready, as a proxy would. So a counter that is ever found behind its last acknowledged value was lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::api::{Api, attribute, encoded};
use crate::http::Address;

/// The app the counters belong to.
pub const APP: &str = "default";
/// The attribute that counts.
const COUNTER: &str = "n";

/// Who writes, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Session ids begin so.
    pub prefix: String,
    /// How many counters.
    pub sessions: usize,
    /// How many copies a step waits for.
    pub ack: &'static str,
    /// How long a writer rests after every step.
    pub rest: Duration,
}

/// What was acknowledged of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// The last value that was acknowledged.
    pub value: u64,
    /// By how many copies.
    pub copies: u64,
}

#[derive(Debug, Default)]
struct Acknowledged {
    steps: BTreeMap<String, Step>,
    waits: Vec<Duration>,
    failures: Vec<String>,
}

/// A writer at work in a task of its own.
pub struct Writer {
    stop: Arc<AtomicBool>,
    said: Arc<Mutex<Acknowledged>>,
    task: JoinHandle<()>,
}

/// What a writer was told in the end.
#[derive(Debug)]
pub struct Written {
    /// The last step of every counter.
    pub steps: BTreeMap<String, Step>,
    /// How long each step took, in order.
    pub waits: Vec<Duration>,
    /// Steps that no node took, each with what the last of them said.
    pub failures: Vec<String>,
}

impl Writer {
    /// Begins to count at the nodes whose APIs are at `nodes`.
    #[must_use]
    pub fn start(plan: Plan, nodes: Vec<Address>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let said = Arc::new(Mutex::new(Acknowledged::default()));
        let task = tokio::spawn(write(plan, nodes, stop.clone(), said.clone()));
        Self { stop, said, task }
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn steps(&self) -> BTreeMap<String, Step> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.steps.clone()
    }

    /// How many steps were acknowledged so far.
    #[must_use]
    pub fn done(&self) -> usize {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.waits.len()
    }

    /// Ends it; the step under way is finished first.
    pub async fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the writer does not panic");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = std::mem::take(&mut *said);
        Written {
            steps: said.steps,
            waits: said.waits,
            failures: said.failures,
        }
    }
}

async fn write(plan: Plan, nodes: Vec<Address>, stop: Arc<AtomicBool>, said: Arc<Mutex<Acknowledged>>) {
    let nodes: Vec<_> = nodes.into_iter().map(Api::new).collect();
    let mut at = 0;
    for value in 1.. {
        for number in 0..plan.sessions {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let id = format!("{}{number}", plan.prefix);
            let change = json!({ "set": { COUNTER: encoded(value.to_string()) } });
            let start = Instant::now();
            let mut answer = Err(std::io::Error::other("no node is given"));
            for _ in 0..nodes.len() {
                answer = nodes[at].patch(APP, &id, plan.ack, &change).await;
                if answer.is_ok() {
                    break;
                }
                at = (at + 1) % nodes.len();
            }
            {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                match answer {
                    Ok(answer) => {
                        let copies = answer["copies"].as_u64().unwrap_or(0);
                        said.waits.push(start.elapsed());
                        said.steps.insert(id, Step { value, copies });
                    }
                    Err(error) => said.failures.push(format!("{id}={value}: {error}")),
                }
            }
            tokio::time::sleep(plan.rest).await;
        }
    }
}

/// The value of a counter at a node; 0 where there is no such session.
///
/// # Errors
/// When the node cannot be asked, or does not answer for its sessions.
pub async fn counter(api: &Api, id: &str) -> Result<u64, String> {
    let session = api.session(APP, id).await.map_err(|e| format!("{id}: {e}"))?;
    let value = session.and_then(|session| attribute(&session, COUNTER));
    let text = value.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Says which counters a node has less of than it should.
///
/// # Errors
/// The first such counter, or why the node cannot be asked.
pub async fn holds_all(api: &Api, steps: &BTreeMap<String, Step>) -> Result<(), String> {
    for (id, step) in steps {
        let held = counter(api, id).await?;
        if held < step.value {
            return Err(format!("{id} is {held}, and {} was acknowledged", step.value));
        }
    }
    Ok(())
}

/// The time within which `share` (of 100) of the waits were over.
///
/// # Panics
/// When there were none.
#[must_use]
pub fn percentile(waits: &[Duration], share: usize) -> Duration {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
    *sorted.get(at).expect("at least one wait")
}
