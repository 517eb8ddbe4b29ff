//! Nodes found by a name that is resolved again and again: every address it has is dialled. A name that resolves no
//! more changes nothing for those who were found by it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{LinkConfig, LinkError, Outcome, is_own_or_linked, keep_link, try_link};
use crate::base::limits::MEMBERS_MAX;
use crate::drivers::node::Node;

/// A name to find nodes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupConfig {
    /// `name:port`.
    pub name: String,
    /// How often it is resolved.
    pub interval: Duration,
}

/// Resolves the name until the node is gone.
pub(super) async fn keep_name(node: Arc<Node>, config: LinkConfig, lookup: LookupConfig) {
    let mut resolves = true;
    loop {
        match tokio::net::lookup_host(&lookup.name).await {
            Ok(addrs) => {
                resolves = true;
                let mut addrs: Vec<_> = addrs.take(MEMBERS_MAX).collect();
                addrs.sort_unstable();
                addrs.dedup();
                if dial(&node, &config, addrs).await {
                    node.with(|engine, now| engine.seed_tried(&lookup.name, now));
                }
            }
            Err(error) => {
                if std::mem::take(&mut resolves) {
                    tracing::warn!(name = lookup.name, %error, "membership.dns does not resolve; known members stay");
                }
            }
        }
        let jitter = 0.9 + 0.1 * rand::random::<f64>();
        tokio::time::sleep(lookup.interval.mul_f64(jitter)).await;
    }
}

/// Dials every address nothing is linked at. Says whether each was linked, or has certainly nobody with the sessions.
async fn dial(node: &Arc<Node>, config: &LinkConfig, addrs: Vec<SocketAddr>) -> bool {
    let mut first_outcomes = JoinSet::new();
    for addr in addrs {
        if node.with(|engine, _| is_own_or_linked(engine, addr)) {
            continue;
        }
        let (linked, first) = tokio::sync::oneshot::channel();
        let (node, config) = (node.clone(), config.clone());
        tokio::spawn(async move { found(&node, &config, addr, linked).await });
        first_outcomes.spawn(first);
    }
    let mut answered = true;
    while let Some(outcome) = first_outcomes.join_next().await {
        answered &= matches!(outcome, Ok(Ok(true)));
    }
    answered
}

/// Makes a link to `addr` and keeps it as long as the engine wants it. `first` is told how the first attempt went.
async fn found(
    node: &Arc<Node>,
    config: &LinkConfig,
    addr: SocketAddr,
    first: tokio::sync::oneshot::Sender<bool>,
) {
    let mut first = Some(first);
    let mut tell = |answered: bool| {
        if let Some(first) = first.take() {
            let _ = first.send(answered); // nobody waits for it any more
        }
    };
    let result = try_link(node, config, addr, || tell(true)).await;
    tell(match &result {
        Ok(_) => true,
        Err(error) => error.is_refused() || matches!(error, LinkError::OtherDomain(_)),
    });
    if matches!(result, Ok(Outcome::Ended { .. })) {
        keep_link(node, config, addr).await;
    }
}
