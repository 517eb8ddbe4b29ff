//! A visitor who keeps coming back: one request after the other, none of them tried twice, every answer kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::client::Client;
use crate::wait;

/// A visitor at work in a task of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    task: JoinHandle<(Client, Vec<Visit>)>,
}

/// One answer, as the visitor saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// The status, or why there was none.
    pub status: Result<u16, String>,
    /// The worker that answered.
    pub node: String,
    /// The session it answered for.
    pub session: String,
    /// What the counter showed.
    pub visits: u64,
}

impl Visit {
    /// GET `path` once.
    pub async fn make(client: &mut Client, path: &str) -> Self {
        match client.get(path).await {
            Ok(response) => {
                let page = response.json();
                let text = |name: &str| page[name].as_str().unwrap_or_default().to_owned();
                Self {
                    status: Ok(response.status),
                    node: text("node"),
                    session: text("session"),
                    visits: page["visits"].as_u64().unwrap_or(0),
                }
            }
            Err(e) => Self {
                status: Err(e.to_string()),
                node: String::new(),
                session: String::new(),
                visits: 0,
            },
        }
    }
}

impl Load {
    /// Starts visiting `path`; with `fresh`, every visit forgets its cookies first and so is a new visitor.
    #[must_use]
    pub fn start(mut client: Client, path: &'static str, fresh: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&done));
        let task = tokio::spawn(async move {
            let mut visits = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                if fresh {
                    client.cookies.clear();
                }
                visits.push(Visit::make(&mut client, path).await);
                count.fetch_add(1, Ordering::Relaxed);
            }
            (client, visits)
        });
        Self { stop, done, task }
    }

    /// Waits for this many further visits.
    pub async fn more(&self, visits: u64, within: Duration) {
        let goal = self.done.load(Ordering::Relaxed) + visits;
        wait::eventually(&format!("{visits} more visits"), within, async || {
            let done = self.done.load(Ordering::Relaxed);
            if done >= goal {
                Ok(())
            } else {
                Err(format!("{} to go", goal - done))
            }
        })
        .await;
    }

    /// Ends it; what was in flight is finished first.
    pub async fn finish(self) -> (Client, Vec<Visit>) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the visitor does not panic")
    }
}

/// Asserts that every visit was answered with 200.
///
/// # Panics
/// With the first that was not, and its neighbours.
pub fn assert_all_served(visits: &[Visit]) {
    if let Some(at) = visits.iter().position(|visit| visit.status != Ok(200)) {
        let around = &visits[at.saturating_sub(2)..(at + 3).min(visits.len())];
        panic!(
            "visit {at} of {} was not answered with 200: {around:#?}",
            visits.len()
        );
    }
}

/// Asserts that a counter only ever rose, in one and the same session.
///
/// # Panics
/// With the first visit where it did not.
pub fn assert_never_goes_back(visits: &[Visit]) {
    for (at, pair) in visits.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        assert_eq!(
            before.session, after.session,
            "visit {at} changed the session: {pair:#?}"
        );
        assert!(after.visits > before.visits, "visit {at} went back: {pair:#?}");
    }
}
