//! The row "state transfer": from the start of a process that has nothing until it has, and serves, everything.

use std::fmt::Write as _;
use std::time::Instant;

use limpet_tests::cluster::Site;
use limpet_tests::scratch::Scratch;

use crate::Extent;
use crate::cpu::{LOAD, MEASURED, spent_us};
use crate::nodes::{Ids, Node, sessions};
use crate::redis::Redis;
use crate::report::{Goal, Section, least, median, most};

/// Sessions, as the goal names them.
pub const SESSIONS: usize = 100_000;
/// Bytes of the one attribute each of them has: random, so that nothing makes them smaller.
pub const VALUE: usize = 1024;
/// Digits of a session id.
pub const ID: usize = 32;
/// How they are spelled.
pub const IDS: Ids = Ids::Hexadecimal(ID);
const REPETITIONS: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Sample {
    seconds: f64,
    donor_ms: f64,
    joiner_ms: f64,
}

/// Measures Limpet and Redis in turn.
pub async fn run(extent: Extent) -> Section {
    let all = sessions(SESSIONS, IDS, VALUE);
    let site = Site::new("transfer", &[], &["donor", "joiner"]);
    let donor = Node::start(&site, "donor", MEASURED).await;
    donor.fill(&all);
    let scratch = Scratch::new("redis");
    let master = Redis::start(scratch.path(), MEASURED).await;
    master.fill(&all);
    let (mut limpet, mut redis) = (Vec::new(), Vec::new());
    for _ in 0..if extent.short { 1 } else { REPETITIONS } {
        limpet.push(join(&site, &donor).await);
        redis.push(replicate(&scratch, &master).await);
        println!(
            "state transfer: Limpet {:?}, Redis {:?}",
            limpet.last(),
            redis.last()
        );
    }
    section(&limpet, &redis)
}

async fn join(site: &Site, donor: &Node) -> Sample {
    let before = spent_us(donor.process.id());
    let start = Instant::now();
    let joiner = Node::start(site, "joiner", LOAD).await;
    let seconds = start.elapsed().as_secs_f64();
    let joiner_ms = spent_us(joiner.process.id()) / 1e3;
    let donor_ms = (spent_us(donor.process.id()) - before) / 1e3;
    joiner.equals(donor).await;
    assert_eq!(
        joiner.metric("limpet_sessions").await,
        SESSIONS as f64,
        "every session is there"
    );
    let _ = joiner.process.terminate(std::time::Duration::from_secs(20)).await;
    donor.sees(1).await;
    Sample {
        seconds,
        donor_ms,
        joiner_ms,
    }
}

async fn replicate(scratch: &Scratch, master: &Redis) -> Sample {
    let before = spent_us(master.process.id());
    let start = Instant::now();
    let replica = Redis::spawn(scratch.path(), LOAD, Some(master.port));
    replica.says("master_link_status:up").await;
    let seconds = start.elapsed().as_secs_f64();
    let joiner_ms = spent_us(replica.process.id()) / 1e3;
    master.equals(&replica).await;
    assert_eq!(replica.keys(), SESSIONS, "every session is there");
    let _ = replica
        .process
        .terminate(std::time::Duration::from_secs(20))
        .await;
    // The child that wrote the snapshot has been waited for by now, so its time counts as its parent's.
    let donor_ms = (spent_us(master.process.id()) - before) / 1e3;
    Sample {
        seconds,
        donor_ms,
        joiner_ms,
    }
}

fn section(limpet: &[Sample], redis: &[Sample]) -> Section {
    let mut text = format!(
        "## State transfer, {SESSIONS} sessions × 1 KiB

From the start of the joining process until `GET /readyz` is 200 (Limpet, mutual TLS 1.3), or until
`master_link_status` is up (Redis, plain TCP, diskless on both sides, no delay). Values are random bytes. The node that
gives has processor 0, the one that joins has processor 1. {} repetitions, in turn.

| what | median | least | most | CPU of the one that gives | CPU of the one that joins |
|---|---:|---:|---:|---:|---:|
",
        limpet.len()
    );
    let middle = |samples: &[Sample], figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
    for (name, samples) in [("Limpet", limpet), ("Redis, full synchronisation", redis)] {
        let seconds = || samples.iter().map(|s| s.seconds);
        let _ = writeln!(
            text,
            "| {name} | {:.2} s | {:.2} s | {:.2} s | {:.0} ms | {:.0} ms |",
            median(seconds()),
            least(seconds()),
            most(seconds()),
            middle(samples, |s| s.donor_ms),
            middle(samples, |s| s.joiner_ms),
        );
    }
    let ratio = middle(limpet, |s| s.seconds) / middle(redis, |s| s.seconds);
    Section {
        text,
        goals: vec![Goal::at_most(
            "state transfer: time at most 1.0 × Redis, which has no TLS",
            1.0,
            ratio,
        )],
    }
}
