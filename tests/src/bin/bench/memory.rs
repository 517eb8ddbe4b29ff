//! The row "memory": what a hundred thousand sessions take, as the kernel sees it.

use std::fmt::Write as _;
use std::time::Duration;

use limpet_tests::cluster::Site;
use limpet_tests::scratch::Scratch;

use crate::Extent;
use crate::cpu::{LOAD, MEASURED, resident};
use crate::nodes::{Node, sessions};
use crate::redis::Redis;
use crate::report::{Goal, Section};
use crate::transfer::{ID, IDS, SESSIONS, VALUE};

/// How long a process is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(2);

/// Resident bytes of one program over its life.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Just started.
    empty: f64,
    /// Every session written once.
    filled: f64,
    /// Every session written again.
    rewritten: f64,
    /// Of another process that got everything as a copy.
    copy: f64,
}

/// Measures Limpet and Redis.
pub async fn run(_: Extent) -> Section {
    let (first, second) = (sessions(SESSIONS, IDS, VALUE), sessions(SESSIONS, IDS, VALUE));
    let second: Vec<_> = first
        .iter()
        .zip(second)
        .map(|((id, _), (_, value))| (id.clone(), value))
        .collect();
    let limpet = limpet(&first, &second).await;
    let redis = redis(&first, &second).await;
    println!("memory: Limpet {limpet:?}, Redis {redis:?}");
    section(limpet, redis)
}

async fn limpet(first: &[(String, Vec<u8>)], second: &[(String, Vec<u8>)]) -> Sample {
    let site = Site::new("memory", &[], &["node", "copy"]);
    let node = Node::start(&site, "node", MEASURED).await;
    let now = async || {
        tokio::time::sleep(SETTLE).await;
        resident(node.process.id())
    };
    let empty = now().await;
    node.fill(first);
    let filled = now().await;
    node.fill(second);
    let rewritten = now().await;
    let copy = Node::start(&site, "copy", LOAD).await;
    copy.equals(&node).await;
    tokio::time::sleep(SETTLE).await;
    Sample {
        empty,
        filled,
        rewritten,
        copy: resident(copy.process.id()),
    }
}

async fn redis(first: &[(String, Vec<u8>)], second: &[(String, Vec<u8>)]) -> Sample {
    let scratch = Scratch::new("redis");
    let master = Redis::start(scratch.path(), MEASURED).await;
    let now = async || {
        tokio::time::sleep(SETTLE).await;
        master.number("used_memory_rss")
    };
    let empty = now().await;
    master.fill(first);
    let filled = now().await;
    master.fill(second);
    let rewritten = now().await;
    let replica = Redis::spawn(scratch.path(), LOAD, Some(master.port));
    replica.says("master_link_status:up").await;
    tokio::time::sleep(SETTLE).await;
    Sample {
        empty,
        filled,
        rewritten,
        copy: replica.number("used_memory_rss"),
    }
}

fn section(limpet: Sample, redis: Sample) -> Section {
    let mut text = format!(
        "## Memory, {SESSIONS} sessions × 1 KiB

Resident size of the process (Redis: `used_memory_rss`), {} s after the last write. The sessions' ids and values alone are
{:.1} MB.

| what | just started | filled | every session written again | as a copy |
|---|---:|---:|---:|---:|
",
        SETTLE.as_secs(),
        (SESSIONS * (ID + VALUE)) as f64 / 1e6
    );
    let mb = |bytes: f64| format!("{:.1} MB", bytes / 1e6);
    for (name, s) in [("Limpet", limpet), ("Redis", redis)] {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            mb(s.empty),
            mb(s.filled),
            mb(s.rewritten),
            mb(s.copy)
        );
    }
    let _ = writeln!(
        text,
        "| Limpet to Redis | {:.2} | {:.2} | {:.2} | {:.2} |",
        limpet.empty / redis.empty,
        limpet.filled / redis.filled,
        limpet.rewritten / redis.rewritten,
        limpet.copy / redis.copy
    );
    let goals = vec![
        Goal::at_most(
            "memory, filled: at most 1.0 × Redis",
            1.0,
            limpet.filled / redis.filled,
        ),
        Goal::at_most(
            "memory, as a copy: at most 1.0 × Redis",
            1.0,
            limpet.copy / redis.copy,
        ),
    ];
    Section { text, goals }
}
