//! A tunnel: a connection that changed its protocol (RFC 9110, section 7.8).
//!
//! After a worker's 101 the bytes of both sides are copied until one of them ends. Answering 101 is left to `serve`.

use std::rc::Rc;

use super::exchange::Exchange;
use crate::client::upgrade::Upgrade;
use crate::upstream::answer::Answer;

/// Copies between `client` and the worker of `answer` in a task of its own. The exchange lasts as long as the tunnel.
pub fn start(client: Upgrade, answer: Answer, exchange: Rc<Exchange>) {
    exchange.thread.counters.upgrades.add(1);
    tokio::task::spawn_local(async move {
        let _exchange = exchange;
        let Some(mut worker) = answer.tunnel().await else {
            return;
        };
        let Ok(mut client) = client.open().await else {
            return;
        };
        // However it ends, both sides are closed.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut worker).await;
    });
}
