//! Connections that change their protocol (RFC 9110, section 7.8): after a worker's 101 the bytes of both sides are
//! copied until one of them ends.

use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::exchange::Exchange;
use crate::upstream::connection::Connection;

/// Copies between `client` and `worker` in a task of its own. The exchange lasts as long as the tunnel.
pub fn start(client: OnUpgrade, worker: OnUpgrade, connection: Connection, exchange: Rc<Exchange>) {
    exchange.lane.counters.upgrades.add(1);
    tokio::task::spawn_local(async move {
        let _exchange = exchange;
        let (worker, ()) = tokio::join!(worker, connection.finish());
        let (Ok(client), Ok(worker)) = (client.await, worker) else {
            return;
        };
        let (mut client, mut worker) = (TokioIo::new(client), TokioIo::new(worker));
        // However it ends, both sides are closed.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut worker).await;
    });
}
