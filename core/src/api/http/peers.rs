//! The links to the other nodes: what passes on them and how quickly.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::{Reply, json as reply};
use super::route::Context;
use crate::drivers::traffic::OneWay;
use crate::replication::position::StreamId;

/// Every peer this node keeps changes for.
pub(super) fn list(context: &Context) -> Reply {
    let mut traffic = context.node.traffic.all();
    let peers: Vec<Value> = context.node.with(|engine, _| {
        let peers = engine.peers().iter();
        peers
            .map(|(node, peer)| {
                let traffic = traffic.remove(node).unwrap_or_default();
                let time = traffic.ack_time();
                let streams = StreamId::first(peer.outboxes().streams());
                let up: Vec<_> = streams.map(|stream| peer.is_up(stream)).collect();
                json!({
                    "id": node.as_str(),
                    "linked": peer.is_linked(),
                    "streams": up,
                    "queue_bytes": peer.outboxes().bytes(),
                    "dropped": peer.outboxes().dropped(),
                    "reconnects": traffic.reconnects(),
                    "repairs": peer.repairs(),
                    "mismatched_sessions": peer.mismatched_sessions(),
                    "sent": one_way(&traffic.sent),
                    "received": one_way(&traffic.received),
                    "ack_ms": time.average.as_secs_f64() * 1000.0,
                    "ack_ms_max": time.longest.as_secs_f64() * 1000.0,
                })
            })
            .collect()
    });
    reply(StatusCode::OK, &json!({ "peers": peers }))
}

fn one_way(way: &OneWay) -> Value {
    json!({
        "messages": way.messages(),
        "bytes": way.bytes(),
        "wire_bytes": way.wire_bytes(),
    })
}
