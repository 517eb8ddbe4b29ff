//! Redis: one server, or one with a replica, over plain TCP.

use std::time::{Duration, Instant};

use limpet_tests::scratch::Scratch;

use super::{SESSIONS, Sample, Shape, VALUE};
use crate::Extent;
use crate::connections::Traffic;
use crate::cpu::{LOAD, MEASURED, spent_us};
use crate::load::{Answers, Load};
use crate::nodes::sessions;
use crate::redis::{Redis, set};

const WARM: Duration = Duration::from_millis(500);

/// One run.
pub(super) async fn measure(shape: Shape, copies: bool, extent: Extent) -> Sample {
    let scratch = Scratch::new("redis");
    let master = Redis::start(scratch.path(), MEASURED).await;
    let replica = copies.then(|| Redis::spawn(scratch.path(), LOAD, Some(master.port)));
    if let Some(replica) = &replica {
        replica.says("master_link_status:up").await;
    }
    let written = sessions(SESSIONS, shape.ids, VALUE);
    master.fill(&written);

    let requests: Vec<_> = written.chunks(shape.batch).map(set).collect();
    let load = Load {
        to: &master.socket,
        connections: shape.connections(),
        requests: &requests,
        updates: shape.batch,
        answers: Answers::Resp(shape.batch),
        pace: shape.pace(),
    };
    load.run(WARM);
    settle(&master, replica.as_ref()).await;

    let spent = || {
        (
            spent_us(master.process.id()),
            replica
                .as_ref()
                .map_or(0.0, |replica| spent_us(replica.process.id())),
        )
    };
    let ports = [master.port];
    let (before, traffic) = (spent(), Traffic::of(master.process.id(), &ports, None));
    let done = load.run(extent.window);
    let answered = Instant::now();
    let busy = (spent().0 - before.0) / 1e6 / done.seconds;
    settle(&master, replica.as_ref()).await;
    let lag_ms = answered.elapsed().as_secs_f64() * 1e3;
    let (after, traffic) = (
        spent(),
        Traffic::of(master.process.id(), &ports, None).since(traffic),
    );
    Sample {
        rate: done.updates / done.seconds,
        node_us: (after.0 - before.0) / done.updates,
        peer_us: (after.1 - before.1) / done.updates,
        sent: traffic.sent / done.updates,
        both: (traffic.sent + traffic.received) / done.updates,
        told: if copies { 1.0 } else { 0.0 },
        lag_ms,
        busy,
    }
}

/// Waits until the replica has everything, where there is one.
async fn settle(master: &Redis, replica: Option<&Redis>) {
    if let Some(replica) = replica {
        master.equals(replica).await;
    }
}
