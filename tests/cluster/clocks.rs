//! Wall clocks that are wrong, or jump: the order of what people did stays, nobody's session ends, nothing is poisoned.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use limpet_tests::api::encoded;
use limpet_tests::clocks::WrongClock;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::{self, APP, Plan, Writer};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
/// Plans nodes, some of them with a clock that is so many seconds off.
async fn planned(name: &str, ids: &[&str], off: &[(&str, i64)]) -> (Fleet, BTreeMap<String, WrongClock>) {
    let mut fleet = Fleet::planned(name, ids, |_| ()).await;
    let mut clocks = BTreeMap::new();
    for (id, seconds) in off {
        let clock = WrongClock::new(fleet.site.scratch.path(), id, *seconds);
        fleet.site.change(id, |node| node.env = clock.environment());
        clocks.insert((*id).to_owned(), clock);
    }
    (fleet, clocks)
}

async fn assemble(fleet: &mut Fleet, ids: &[&str]) {
    fleet.assemble(ids).await;
    for id in ids {
        WrongClock::tidy(fleet.core(id).process.id());
    }
}

/// How far a node's wall clock is ahead of the cluster's time, in seconds, by its metrics.
async fn ahead(fleet: &Fleet, id: &str) -> Result<i64, String> {
    let page = fleet.core(id).api.call("GET", "/metrics", b"").await;
    let page = page.map_err(|e| e.to_string())?.text();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix("limpet_clock_ahead_ms "));
    let ahead_ms: i64 = value
        .and_then(|value| value.parse().ok())
        .ok_or("no such metric")?;
    Ok((ahead_ms + 500).div_euclid(1000))
}

/// How far the stamps of a node's changes are ahead of our clock, in seconds.
async fn stamps_ahead(fleet: &Fleet, id: &str) -> i64 {
    let probe = format!("probe-{id}");
    fleet.set(id, &probe, "x", "1", "none").await;
    let created = fleet.get(id, &probe).await.expect("just created")["created_ms"].as_i64();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now_ms = i64::try_from(now.as_millis()).expect("milliseconds");
    (created.expect("milliseconds") - now_ms + 500).div_euclid(1000)
}

/// Sets the clock of a node and waits until it reads so.
async fn set_clock(fleet: &Fleet, clocks: &BTreeMap<String, WrongClock>, id: &str, seconds: i64) {
    clocks[id].set(seconds);
    let what = format!("the clock of {id} is {seconds} s ahead");
    wait::eventually(&what, SOON, async || match ahead(fleet, id).await? {
        ahead if (ahead - seconds).abs() <= 1 => Ok(()),
        ahead => Err(format!("it is {ahead} s ahead")),
    })
    .await;
}

/// Waits until `/readyz` of a node says that its clock is wrong, or no more.
async fn says_wrong(fleet: &Fleet, id: &str, wrong: bool) {
    let what = format!(
        "{id} says that its clock is {}",
        if wrong { "wrong" } else { "right" }
    );
    wait::eventually(&what, SOON, async || match fleet.core(id).readiness().await {
        Ok(()) if !wrong => Ok(()),
        Err(reason) if wrong && reason.contains("503") && reason.contains("clock") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_who_writes_after_reading_wins_whatever_the_clocks_say() {
    let ids = ["a", "b", "c", "d"];
    let (mut fleet, clocks) = planned("f03", &ids, &[("a", 25), ("b", -25)]).await;
    assemble(&mut fleet, &["c", "d"]).await; // whose time is that of the cluster
    for id in ["a", "b"] {
        fleet.begin(id);
    }
    fleet.see_each_other(SOON).await;
    for id in ["a", "b"] {
        WrongClock::tidy(fleet.core(id).process.id());
    }
    let mut value = 0;
    for round in 0..3 {
        for id in ["a", "b", "c", "d", "b", "a", "d"] {
            value += 1;
            let copies = fleet.set(id, "S", "x", &value.to_string(), "all").await;
            assert_eq!(copies, 4);
            for other in ids {
                let held = fleet.text(other, "S", "x").await;
                assert_eq!(held, Some(value.to_string()), "{id} wrote, {other} read");
            }
        }
        // A clock that goes back and forth between the two.
        set_clock(&fleet, &clocks, "a", if round % 2 == 0 { -25 } else { 25 }).await;
    }
    for id in ids {
        assert_eq!(fleet.metric(id, "limpet_skew_refused_total", "").await, 0, "{id}");
    }
    fleet.agree(SOON).await;
}

/// A node that starts an hour ahead keeps the time of the others: it says that its clock is wrong, and what it writes is
/// spread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_clock_an_hour_ahead_says_so_and_poisons_nobody() {
    let ids = ["a", "b", "c"];
    let (mut fleet, clocks) = planned("f03-far", &ids, &[("a", 3600)]).await;
    assemble(&mut fleet, &["b", "c"]).await;
    let change = json!({ "set": { "x": encoded("1") }, "max_inactive": "-1" });
    let answer = fleet.core("b").api.patch(APP, "S", "all", &change).await;
    assert_eq!(answer.expect("an answer")["copies"], 2);
    fleet.begin("a");
    fleet.see_each_other(SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    says_wrong(&fleet, "a", true).await;
    assert_eq!(ahead(&fleet, "a").await, Ok(3600));
    assert!(fleet.metric("a", "limpet_clock_wrong_ms", "").await > 3_500_000);

    assert_eq!(fleet.set("a", "S", "x", "from the wrong one", "all").await, 3);
    assert_eq!(fleet.set("b", "S", "x", "2", "all").await, 3);
    for id in ids {
        assert_eq!(fleet.metric(id, "limpet_skew_refused_total", "").await, 0, "{id}");
        assert_eq!(fleet.text(id, "S", "x").await.as_deref(), Some("2"));
        let created = stamps_ahead(&fleet, id).await;
        assert!(created.abs() <= 2, "the stamps of {id} are {created} s ahead");
    }

    set_clock(&fleet, &clocks, "a", 0).await;
    says_wrong(&fleet, "a", false).await;
    fleet.kill("a");
    fleet.start("a", SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    fleet.see_each_other(SOON).await;
    fleet.agree(SOON).await;
    assert_eq!(fleet.set("a", "S", "x", "3", "all").await, 3);
    assert_eq!(fleet.text("c", "S", "x").await.as_deref(), Some("3"));
}

/// A clock that is an hour ahead for some seconds, while its node takes writes, and is then set right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_clock_that_was_wrong_for_a_moment_stops_no_replication() {
    let ids = ["a", "b", "c"];
    let (mut fleet, clocks) = planned("f03-moment", &ids, &[("a", 0)]).await;
    assemble(&mut fleet, &ids).await;
    for seconds in [3600, -3600, 36_000] {
        set_clock(&fleet, &clocks, "a", seconds).await;
        assert_eq!(fleet.set("a", "S", "x", "while it is wrong", "all").await, 3);
        says_wrong(&fleet, "a", true).await;
        set_clock(&fleet, &clocks, "a", 0).await;
        assert_eq!(fleet.set("a", "S", "x", "after", "all").await, 3);
        says_wrong(&fleet, "a", false).await;
        for id in ids {
            assert_eq!(fleet.text(id, "S", "x").await.as_deref(), Some("after"), "{id}");
        }
    }
    fleet.kill("a");
    fleet.start("a", SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    assert_eq!(fleet.text("a", "S", "x").await.as_deref(), Some("after"));
}

/// The first node of a cluster is an hour ahead: the others keep its time, and its clock is wrong once they are more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_cluster_that_began_an_hour_ahead_has_all_its_sessions() {
    let ids = ["a", "b", "c"];
    let (mut fleet, _clocks) = planned("f03-alone", &ids, &[("a", 3600)]).await;
    // The first by name is ready alone once nobody else answers.
    fleet.start("a", Duration::from_secs(30)).await;
    WrongClock::tidy(fleet.core("a").process.id());
    fleet.set("a", "alone", "x", "1", "none").await;
    fleet.begin("b");
    fleet.begin("c");
    fleet.see_each_other(SOON).await;
    says_wrong(&fleet, "a", true).await;
    for id in ids {
        assert_eq!(fleet.text(id, "alone", "x").await.as_deref(), Some("1"), "{id}");
        assert_eq!(fleet.set(id, "alone", "x", "1", "all").await, 3, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_a_clock_that_jumps_by_an_hour_ends_no_session_and_stops_no_timer() {
    let ids = ["a", "b", "c"];
    let (mut fleet, clocks) = planned("f04", &ids, &[("a", 0), ("b", 0)]).await;
    assemble(&mut fleet, &ids).await;
    for number in 0..20 {
        fleet.set("a", &format!("S{number}"), "x", "1", "all").await; // half an hour by default
    }
    for jump in [3600, -3600] {
        for id in ["a", "b"] {
            set_clock(&fleet, &clocks, id, jump).await;
        }
        for id in ids {
            assert_eq!(
                fleet.core(id).digest().await.expect("an answer").0,
                20,
                "{id} at {jump} s"
            );
        }
        for id in ["a", "b"] {
            set_clock(&fleet, &clocks, id, 0).await;
        }
        let change = json!({ "set": { "x": encoded("1") }, "max_inactive": "1s" });
        let answer = fleet.core("c").api.patch(APP, "short", "all", &change).await;
        assert_eq!(answer.expect("an answer")["copies"], 3);
        clocks["a"].set(jump);
        wait::until("a short one ends in its time all the same", SOON, async || {
            for id in ids {
                if fleet.core(id).api.lists(APP, "short").await.unwrap_or(true) {
                    return false;
                }
            }
            true
        })
        .await;
        set_clock(&fleet, &clocks, "a", 0).await;
    }
    assert_eq!(fleet.set("a", "S0", "x", "2", "all").await, 3);
    wait::until("short ones are gone, all others are not", SOON, async || {
        fleet.agree(SOON).await == 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_donors_whose_clocks_disagree_leave_no_gap_for_a_node_that_joins_under_load() {
    let ids = ["a", "b", "e"];
    let (mut fleet, _clocks) = planned("f05-clocks", &ids, &[("a", 5), ("b", -5)]).await;
    assemble(&mut fleet, &["a", "b"]).await;
    fleet.fill("a", "old", 2000, 300).await;
    let writers = [("a", "b"), ("b", "a")].map(|(first, second)| {
        let plan = Plan {
            prefix: format!("counter-{first}-"),
            sessions: 40,
            ack: "all",
            rest: Duration::from_millis(1),
        };
        Writer::start(plan, vec![fleet.address(first), fleet.address(second)])
    });
    for _ in 0..3 {
        let done = writers.iter().map(Writer::done).sum::<usize>();
        wait::until("applications write", SOON, async || {
            writers.iter().map(Writer::done).sum::<usize>() > done + 100
        })
        .await;
        let before: Vec<_> = writers.iter().map(Writer::steps).collect();
        fleet.start("e", SOON).await;
        for steps in &before {
            let held = writers::holds_all(&fleet.core("e").api, steps).await;
            held.unwrap_or_else(|e| panic!("acknowledged before it joined, missing when ready: {e}"));
        }
        fleet.kill("e");
    }
    for writer in writers {
        let written = writer.finish().await;
        assert!(written.failures.is_empty(), "{:?}", written.failures);
    }
}

/// Idle time is counted by a clock, too; one that is an hour ahead sees every session past its half an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_node_with_a_clock_an_hour_ahead_ends_nobodys_sessions() {
    let ids = ["a", "b", "c"];
    let (mut fleet, _clocks) = planned("f03-idle", &ids, &[("a", 3600)]).await;
    assemble(&mut fleet, &["b", "c"]).await;
    for number in 0..30 {
        fleet.set("b", &format!("S{number}"), "x", "1", "all").await;
    }
    fleet.begin("a");
    fleet.sees("b", &["a"], &["ready"], SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    fleet.see_each_other(SOON).await;
    // Longer than any node takes to end what it finds idle.
    wait::stays("all sessions are there", Duration::from_secs(5), async || {
        for id in ["b", "c"] {
            match fleet.core(id).digest().await?.0 {
                30 => {}
                left => return Err(format!("{left} at {id}")),
            }
        }
        Ok(())
    })
    .await;
}
