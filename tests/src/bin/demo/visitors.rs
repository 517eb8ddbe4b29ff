//! Made-up visitors: each has a session, clicks once a second through the proxy, and notices when its session is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use limpet_tests::client::Client;
use limpet_tests::http::Address;

/// How many there are.
pub(crate) const VISITORS: u64 = 12;
/// How often each of them clicks.
const PAUSE: Duration = Duration::from_secs(1);

/// What they noticed, all together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

/// What they noticed up to one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Requests made.
    pub(crate) requests: u64,
    /// Requests that had another answer than 200, or none.
    pub(crate) failed: u64,
    /// Times a visitor found a session that did not know its earlier visits.
    pub(crate) lost: u64,
}

impl Tally {
    /// What has been noticed so far.
    pub(crate) fn so_far(&self) -> Noticed {
        Noticed {
            requests: self.requests.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

impl std::ops::Sub for Noticed {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            lost: self.lost.saturating_sub(earlier.lost),
        }
    }
}

/// Has them come to `front`, one after the other within a second.
pub(crate) fn come(front: &str) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    for number in 0..VISITORS {
        let (to, tally) = (Address::Tcp(front.to_owned()), Arc::clone(&tally));
        tokio::spawn(async move {
            tokio::time::sleep(PAUSE * u32::try_from(number).unwrap_or(0) / VISITORS as u32).await;
            visit(Client::new(to), &tally).await;
        });
    }
    tally
}

async fn visit(mut client: Client, tally: &Tally) {
    let mut before = 0;
    let mut clock = tokio::time::interval(PAUSE);
    loop {
        clock.tick().await;
        tally.requests.fetch_add(1, Ordering::Relaxed);
        let visits = match client.get("/json").await {
            Ok(answer) if answer.status == 200 => answer.json()["visits"].as_u64(),
            _ => None,
        };
        let Some(visits) = visits else {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        if visits <= before {
            tally.lost.fetch_add(1, Ordering::Relaxed);
        }
        before = visits;
    }
}
