//! Starting: never ready and empty while somebody alive has the table, and within seconds when nobody has one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::client::Client;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::proxy::{HostPlan, Proxy};
use limpet_tests::{programs, wait};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(20);
const SESSIONS: u64 = 50;

async fn fill(core: &Core) {
    for n in 0..SESSIONS {
        let change = json!({ "set": { "v": encoded("1") } });
        let written = core.api.patch("default", &format!("S{n}"), "none", &change).await;
        written.expect("written");
    }
}

async fn has_all(core: &Core) {
    wait::eventually(
        &format!("{} has all sessions", core.node.id),
        SOON,
        async || match core.digest().await {
            Ok((SESSIONS, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

/// It is not ready for so long, and says for which address it waits.
async fn waits(core: &mut Core, time: Duration, seed: &str) {
    let until = Instant::now() + time;
    let mut reason = String::new();
    while Instant::now() < until {
        match core.readiness().await {
            Ok(()) => panic!("ready without a table:\n{}", core.process.log()),
            Err(now) => reason = now,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(reason.contains(seed), "{reason}");
    assert!(core.process.runs());
}

/// What `limpet-core status` prints.
async fn status(core: &Core) -> String {
    let mut command = Command::new(programs::ours("limpet-core"));
    let output = command
        .args(["status", "--api", &core.node.socket_url()])
        .output();
    let output = output.await.expect("limpet-core runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn page(core: &Core, path: &str) -> String {
    core.api.call("GET", path, b"").await.expect("an answer").text()
}

/// Whether it says everywhere that sessions may be missing.
async fn says_so(core: &Core) -> [bool; 4] {
    let metrics = page(core, "/metrics").await;
    let (_, members) = core.api.get("/v1/members").await.expect("an answer");
    let members = members["members"].as_array().cloned().unwrap_or_default();
    [
        page(core, "/readyz?verbose")
            .await
            .contains("warning: started after"),
        metrics.contains("\nlimpet_table_incomplete 1\n"),
        status(core).await.contains("WARNING: r: started after"),
        members.iter().any(|member| member["problem"].is_string()),
    ]
}

/// A seed that has the sessions, and a node that was told of the seed alone and has just been killed.
async fn seed_and_restarting_node(name: &str, timeout: &str) -> (Site, Core) {
    let mut site = Site::apart(name, &["r", "s"]);
    site.change("r", |plan| {
        plan.extra = format!("\n[replication]\nstate_transfer_timeout = \"{timeout}\"\n");
    });
    let mut s = site.start_core("s");
    let mut r = site.start_core("r");
    s.ready(SOON).await;
    r.ready(SOON).await;
    fill(&s).await;
    has_all(&r).await;
    r.process.kill();
    (site, s)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_dials_to_its_only_seed_vanish_waits_and_then_starts_loudly() {
    let (site, s) = seed_and_restarting_node("unheard", "6s").await;
    site.network().silence_dials(&["r"], &["s"]);
    let mut r = site.start_core("r");
    waits(&mut r, Duration::from_millis(4500), &site.node("s").cluster).await;
    r.ready(SOON).await;
    assert!(r.process.log().contains("WARN"), "{}", r.process.log());
    assert_eq!(says_so(&r).await, [true; 4]);
    site.network().heal();
    has_all(&r).await;
    wait::eventually("it says so no more", SOON, async || match says_so(&r).await {
        [false, false, false, false] => Ok(()),
        says => Err(format!("{says:?}")),
    })
    .await;
    assert_eq!(r.digest().await.ok(), s.digest().await.ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_starts_without_a_table_waits_for_one_whichever_way_is_cut() {
    let (site, _s) = seed_and_restarting_node("never", "never").await;
    for way in ["its dials", "all it sends", "all it is sent"] {
        match way {
            "its dials" => site.network().silence_dials(&["r"], &["s"]),
            "all it sends" => site.network().silence(&["r"], &["s"]),
            _ => site.network().silence(&["s"], &["r"]),
        }
        let mut r = site.start_core("r");
        waits(&mut r, Duration::from_secs(4), &site.node("s").cluster).await;
        site.network().heal();
        r.ready(SOON).await;
        assert_eq!(r.digest().await.expect("an answer").0, SESSIONS, "{way}");
        assert_eq!(says_so(&r).await, [false; 4], "{way}");
        r.process.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_do_not_crowd_out_a_seeds_answer() {
    let site = Site::new("crowd", &[], &["r", "s"]);
    let (mut s, mut r) = (site.start_core("s"), site.start_core("r"));
    s.ready(SOON).await;
    r.ready(SOON).await;
    fill(&s).await;
    has_all(&r).await;
    r.process.kill();
    let seed = site.node("s").cluster.clone();
    // 250 a second. Each is kept for longer than a node waits for a handshake; the seed may close it before.
    let crowd = tokio::spawn(async move {
        let mut kept = VecDeque::new();
        let mut interval = tokio::time::interval(Duration::from_millis(20));
        loop {
            interval.tick().await;
            for _ in 0..5 {
                kept.extend(TcpStream::connect(&seed).await.ok());
            }
            while kept.len() > 1600 {
                kept.pop_front();
            }
        }
    });
    tokio::time::sleep(Duration::from_secs(3)).await; // there are more than shake hands at once
    let began = Instant::now();
    let mut r = site.core("r").await;
    let took = began.elapsed();
    assert_eq!(r.digest().await.expect("an answer").0, SESSIONS);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(r.process.runs());
    crowd.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_of_three_takes_seconds_in_any_order_and_all_at_once() {
    let site = Site::new("first", &[], &["a", "b", "c"]);
    let orders = ["abc", "acb", "bac", "bca", "cab", "cba"];
    let pauses = orders.map(|order| (order, 300)).into_iter().chain([("abc", 0)]);
    for (order, pause) in pauses {
        let began = Instant::now();
        let mut cores = Vec::new();
        for id in order.chars() {
            cores.push(site.start_core(&id.to_string()));
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        for core in &mut cores {
            core.ready(SOON).await;
        }
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "{order}: {took:?}");
        println!("{order}, {pause} ms apart: all ready after {took:?}");
        let change = json!({ "set": { "v": encoded("1") } });
        let written = cores[0].api.patch("default", "S", "all", &change).await;
        assert_eq!(written.expect("written")["copies"], 3, "{order}");
        for core in &cores {
            let warned = core.process.log().contains("without the whole session table");
            assert!(!warned, "{order}: {}", core.process.log());
        }
        cores.into_iter().for_each(|core| core.process.kill());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_keeps_its_worker_table_while_its_core_restarts() {
    let site = Site::new("table", &["a", "b"], &[]);
    let (worker_a, worker_b) = (site.worker("a"), site.worker("b"));
    let (mut a, b) = (site.start_core("a"), site.start_core("b"));
    a.sees_up(&["a", "b"], SOON).await;
    b.sees_up(&["a", "b"], SOON).await;
    let proxy = Proxy::host(&HostPlan::new(&site.node("a").socket_url()), &site.scratch).await;
    let mut client = Client::new(proxy.addr.clone());
    wait::eventually("the proxy has workers", SOON, async || {
        match client.get("/echo").await {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let (mut asked, mut refused) = (0, Vec::new());
    for _ in 0..4 {
        b.process.freeze().await; // so that for a while nobody tells the other one of the workers
        a.process.kill();
        a = site.start_core("a");
        let restarted = Instant::now();
        let (mut frozen, mut ready_since) = (true, None);
        while ready_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(1)) {
            let response = client.get("/echo").await.expect("an answer");
            asked += 1;
            if response.status != 200 {
                refused.push((restarted.elapsed(), response.status));
            }
            if frozen && restarted.elapsed() > Duration::from_millis(1500) {
                b.process.thaw();
                frozen = false;
            }
            if ready_since.is_none() && a.readiness().await.is_ok() {
                ready_since = Some(Instant::now());
            }
            assert!(
                restarted.elapsed() < SOON,
                "it is not ready:\n{}",
                a.process.tail()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(refused.is_empty(), "of {asked} requests: {refused:?}");
    drop((worker_a, worker_b, b, proxy));
}
