//! Nodes that join: under load, from donors that are slow or die, many at once, and again and again.

use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::{self, APP, Plan, Writer};
use serde_json::json;

const SOON: Duration = Duration::from_secs(5);
/// Time for a small table, on a busy machine.
const READY: Duration = Duration::from_secs(20);
/// Time for a repair that begins with the second comparison.
const REPAIRED: Duration = Duration::from_secs(20);

fn counters(fleet: &Fleet, at: &[&str], ack: &'static str) -> Writer {
    let plan = Plan {
        prefix: format!("counter-{}-", at.first().expect("a node")),
        sessions: 40,
        ack,
        rest: Duration::from_millis(1),
    };
    Writer::start(plan, at.iter().map(|id| fleet.address(id)).collect())
}

/// Asks a joining node for a session everybody else has, until it is ready: it may say that it is not ready, and
/// it may have it, but never that there is none. Returns as soon as `seen` likes what `/readyz` says.
async fn watch_joining(fleet: &Fleet, id: &str, session: &str, seen: impl Fn(&str) -> bool) -> String {
    let core = fleet.core(id);
    wait::eventually(&format!("{id} gets on with joining"), READY, async || {
        let path = format!("/v1/sessions/{APP}/{session}");
        let answer = core
            .api
            .call("GET", &path, b"")
            .await
            .map_err(|e| e.to_string())?;
        assert!(
            matches!(answer.status, 200 | 503),
            "{id} says {} of a session that exists: {}",
            answer.status,
            answer.text()
        );
        let said = match core.readiness().await {
            Ok(()) => "ready".to_owned(),
            Err(reason) => reason,
        };
        if seen(&said) || said == "ready" {
            Ok(said)
        } else {
            Err(said)
        }
    })
    .await
}

/// Whether `/readyz` speaks of sessions that have arrived already.
fn receiving(said: &str) -> bool {
    said.contains("receiving sessions") && !said.contains(": 0 so far")
}

/// The node among `ids` that `/readyz` names as a donor.
fn donor<'a>(said: &str, ids: &[&'a str]) -> &'a str {
    let named = |id: &&&str| {
        let words = said.split(|c: char| !c.is_alphanumeric());
        words.into_iter().any(|word| word == **id)
    };
    ids.iter().find(named).copied().expect("a donor's name")
}

/// The donor is killed as soon as the joiner is ready, with its own counters still running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_a_node_that_joined_under_load_is_never_behind_what_was_acknowledged() {
    let mut fleet = Fleet::planned("f05", &["a", "b", "c", "d", "e"], |_| ()).await;
    fleet.assemble(&["a", "b", "c", "d"]).await;
    fleet.fill("a", "old", 2000, 500).await;
    let writers = [
        counters(&fleet, &["a", "b", "c"], "all"),
        counters(&fleet, &["b", "c", "d"], "none"),
        counters(&fleet, &["c", "d", "b"], "one"),
        counters(&fleet, &["d", "b", "c"], "quorum"),
    ];
    for round in 0..3 {
        wait::until("every writer writes", SOON, async || {
            writers.iter().all(|writer| writer.done() > 100 * (round + 1))
        })
        .await;
        let before: Vec<_> = writers.iter().map(Writer::steps).collect();
        fleet.start("e", READY).await;
        let after: Vec<_> = writers.iter().map(Writer::steps).collect();
        let e = &fleet.core("e").api;
        for steps in &before {
            let held = writers::holds_all(e, steps).await;
            held.unwrap_or_else(|e| {
                panic!("round {round}: acknowledged before it joined, missing when ready: {e}")
            });
        }
        for steps in &after {
            wait::eventually(
                "e has what was acknowledged until it was ready",
                SOON,
                async || writers::holds_all(e, steps).await,
            )
            .await;
        }
        fleet.see_each_other(READY).await;
        // What it learnt by the transfer it can change, and the others hear of it.
        let copies = fleet.set("e", "old7", "after", &round.to_string(), "all").await;
        assert_eq!(copies, 5, "round {round}");
        fleet.kill("e");
    }
    fleet.start("e", READY).await;
    fleet.kill("a");
    let done: Vec<_> = writers.iter().map(Writer::done).collect();
    wait::until("its writer goes on elsewhere", SOON, async || {
        let mut progress = writers.iter().zip(&done);
        progress.all(|(writer, done)| writer.done() > done + 1)
    })
    .await;
    let mut all = Vec::new();
    for writer in writers {
        let written = writer.finish().await;
        assert!(written.failures.is_empty(), "{:?}", written.failures);
        all.push(written.steps);
    }
    assert_eq!(fleet.agree(REPAIRED).await, 2000 + 4 * 40);
    for core in fleet.running() {
        for steps in &all {
            let held = writers::holds_all(&core.api, steps).await;
            held.unwrap_or_else(|e| panic!("{}: {e}", core.node.id));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_donor_killed_half_way_is_replaced_and_the_transfer_goes_on_where_it_stopped() {
    const SESSIONS: u64 = 4000;
    let mut fleet = Fleet::planned("f06", &["a", "b", "e"], |_| ()).await;
    fleet.assemble(&["a", "b"]).await;
    fleet.fill("a", "S", SESSIONS as usize, 1000).await;
    fleet.agree(READY).await;
    for id in ["a", "b"] {
        fleet.network().throttle_from(id, 600_000);
    }
    fleet.begin("e");
    let said = watch_joining(&fleet, "e", "S7", receiving).await;
    assert!(receiving(&said), "it was not ready yet: {said}");
    fleet.sees("b", &["e"], &["joining"], SOON).await;
    let gone = donor(&said, &["a", "b"]);
    fleet.kill(gone);
    let said = watch_joining(&fleet, "e", "S7", |said| said == "ready").await;
    assert_eq!(said, "ready");
    assert_eq!(fleet.agree(REPAIRED).await, SESSIONS);
    let received = fleet
        .metric("e", "limpet_transfer_records_received_total", "")
        .await;
    assert!(
        received <= SESSIONS * 5 / 4,
        "{received} records for {SESSIONS} sessions"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_donor_that_is_much_too_slow_does_not_keep_a_node_from_joining() {
    let mut fleet = Fleet::planned("f06-slow", &["a", "b", "e"], |_| ()).await;
    fleet.assemble(&["a", "b"]).await;
    fleet.fill("b", "S", 2000, 1000).await;
    fleet.agree(READY).await;
    fleet.network().throttle_from("a", 10_000);
    fleet.begin("e");
    let said = watch_joining(&fleet, "e", "S7", |said| said == "ready").await;
    assert_eq!(said, "ready");
    assert_eq!(fleet.core("e").digest().await.expect("an answer").0, 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_slow_donor_is_enough_where_there_is_no_other() {
    let mut fleet = Fleet::planned("f06-only", &["a", "e"], |_| ()).await;
    fleet.assemble(&["a"]).await;
    fleet.fill("a", "S", 1000, 1000).await;
    fleet.network().throttle_from("a", 80_000);
    fleet.begin("e");
    let said = watch_joining(&fleet, "e", "S7", |said| said == "ready").await;
    assert_eq!(said, "ready");
    assert_eq!(fleet.core("e").digest().await.expect("an answer").0, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_eight_nodes_join_at_once_and_the_one_donor_goes_on_serving() {
    let count = std::env::var("LIMPET_F07_SESSIONS").unwrap_or_else(|_| "50000".to_owned());
    let count: u64 = count.parse().expect("LIMPET_F07_SESSIONS is a number");
    let joiners = ["b", "c", "d", "e", "f", "g", "h", "i"];
    let all: Vec<_> = std::iter::once("a").chain(joiners).collect();
    let mut fleet = Fleet::alone("f07", &all, |_| ()).await;
    fleet.assemble(&["a"]).await;
    fleet.fill("a", "S", count as usize, 200).await;
    let writer = counters(&fleet, &["a"], "none");
    let start = Instant::now();
    for id in joiners {
        fleet.begin(id);
    }
    for id in joiners {
        fleet.ready(id, READY).await;
    }
    println!("eight joined in {:?}", start.elapsed());
    let written = writer.finish().await;
    assert!(written.failures.is_empty(), "{:?}", written.failures);
    let longest = written.waits.iter().max().copied().unwrap_or_default();
    println!(
        "{} writes meanwhile, the longest {longest:?}",
        written.waits.len()
    );
    assert!(longest < Duration::from_secs(2), "a write took {longest:?}");
    fleet.see_each_other(READY).await;
    let sessions = count + written.steps.len() as u64;
    assert_eq!(fleet.agree(REPAIRED).await, sessions);
    for id in joiners {
        let received = fleet
            .metric(id, "limpet_transfer_records_received_total", "")
            .await;
        assert!(
            received <= sessions * 6 / 5,
            "{id} got {received} records for {sessions} sessions"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_a_node_that_comes_and_goes_does_not_get_the_whole_table_every_time() {
    const SESSIONS: u64 = 10_000;
    const ROUNDS: u64 = 20;
    let fleet = Fleet::assembled("f07-flap", &["a", "b", "c"], |node| {
        node.membership = "probe_interval = \"50ms\"\ndrop_time = \"300ms\"".to_owned();
    })
    .await;
    fleet.fill("a", "S", SESSIONS as usize, 50).await;
    fleet.agree(READY).await;
    let first = fleet
        .metric("c", "limpet_transfer_records_received_total", "")
        .await;
    for round in 0..ROUNDS {
        fleet.network().cut(&["c"], &["a", "b"]);
        fleet.sees("a", &["c"], &["down"], SOON).await;
        fleet.set("a", &format!("new{round}"), "x", "1", "none").await;
        fleet.network().heal();
        fleet.see_each_other(READY).await;
    }
    assert_eq!(fleet.agree(REPAIRED).await, SESSIONS + ROUNDS);
    let again = fleet
        .metric("c", "limpet_transfer_records_received_total", "")
        .await
        - first;
    assert!(
        again <= SESSIONS / 5,
        "{again} of {SESSIONS} sessions were sent again"
    );
}

/// Tells a step of joining by what `/readyz` says.
type Reached = fn(&str) -> bool;

/// Where in joining the process is that is about to be killed.
const STEPS: [(&str, Reached); 4] = [
    ("its API answers", |_| true),
    ("it waits or receives", |said| {
        said.contains("waiting for a member") || said.contains("receiving")
    }),
    ("sessions arrive", receiving),
    ("it is ready", |said| said == "ready"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_whichever_node_dies_at_whichever_step_of_joining_all_end_ready_and_equal() {
    const SESSIONS: usize = 1500;
    let mut fleet = Fleet::planned("f10", &["a", "b", "e"], |_| ()).await;
    fleet.assemble(&["a", "b"]).await;
    fleet.fill("a", "S", SESSIONS, 1000).await;
    fleet.agree(READY).await;
    for (step, reached) in STEPS {
        for victim in ["a", "b", "e"] {
            for id in ["a", "b"] {
                fleet.network().throttle_from(id, 3_000_000);
            }
            fleet.begin("e");
            watch_joining_or_starting(&fleet, reached).await;
            fleet.kill(victim);
            if victim != "e" {
                let said = watch_joining(&fleet, "e", "S7", |said| said == "ready").await;
                assert_eq!(said, "ready", "{victim} killed when {step}");
            }
            for id in ["a", "b"] {
                fleet.network().unthrottle(id);
            }
            fleet.start(victim, READY).await;
            fleet.see_each_other(READY).await;
            let sessions = fleet.agree(REPAIRED).await;
            assert_eq!(sessions, SESSIONS as u64, "{victim} killed when {step}");
            fleet.kill("e");
        }
    }
}

async fn watch_joining_or_starting(fleet: &Fleet, reached: Reached) {
    wait::until("its API answers", SOON, async || {
        fleet.core("e").api.call("GET", "/healthz", b"").await.is_ok()
    })
    .await;
    watch_joining(fleet, "e", "S7", reached).await;
}

/// The only donor is restarted half-way, so the table is gone with it; nobody waits for ever for what is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_two_joiners_whose_only_donor_restarts_end_ready_and_equal() {
    let mut fleet = Fleet::planned("f10-only", &["a", "d", "e"], |_| ()).await;
    fleet.assemble(&["a"]).await;
    fleet.fill("a", "S", 2000, 1000).await;
    fleet.network().throttle_from("a", 600_000);
    fleet.begin("d");
    fleet.begin("e");
    watch_joining_or_starting(&fleet, receiving).await;
    fleet.kill("a");
    fleet.network().unthrottle("a");
    fleet.begin("a");
    for id in ["a", "d", "e"] {
        fleet.ready(id, READY).await;
    }
    fleet.see_each_other(READY).await;
    fleet.agree(REPAIRED).await;
    let change = json!({ "set": { "x": encoded("1") } });
    let answer = fleet.core("a").api.patch(APP, "new", "all", &change).await;
    assert_eq!(answer.expect("an answer")["copies"], 3);
}
