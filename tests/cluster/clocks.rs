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

/// How far a node's wall clock is ahead of ours, in seconds, by what it says of a session it has just created.
async fn ahead(fleet: &Fleet, id: &str) -> i64 {
    let probe = format!("probe-{id}");
    fleet.set(id, &probe, "x", "1", "none").await;
    let created = fleet.get(id, &probe).await.expect("just created")["created_ms"].as_i64();
    (created.expect("milliseconds") - now_ms() + 500).div_euclid(1000)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("milliseconds")
}

/// Sets the clock of a node and waits until it reads so, by the age it gives a session.
async fn set_clock(fleet: &Fleet, clocks: &BTreeMap<String, WrongClock>, id: &str, seconds: i64) {
    clocks[id].set(seconds);
    wait::eventually(
        &format!("the clock of {id} is {seconds} s ahead"),
        SOON,
        async || {
            let session = fleet.get(id, "watch").await.ok_or("it is not there")?;
            let field = |name: &str| session[name].as_i64().ok_or(format!("no {name}"));
            let age = field("age_ms")?;
            let ahead = age - (now_ms() - field("created_ms")?);
            // An age is never less than nothing.
            let as_set = (ahead - seconds * 1000).abs() < 1000 || age == 0 && ahead > seconds * 1000;
            if as_set {
                Ok(())
            } else {
                Err(format!("it is {ahead} ms ahead"))
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_who_writes_after_reading_wins_whatever_the_clocks_say() {
    let ids = ["a", "b", "c", "d"];
    let (mut fleet, clocks) = planned("f03", &ids, &[("a", 25), ("b", -25)]).await;
    assemble(&mut fleet, &ids).await;
    assert_eq!(ahead(&fleet, "a").await, 25, "its clock is wrong");
    fleet.set("c", "watch", "x", "1", "all").await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_clock_an_hour_ahead_is_refused_counted_and_poisons_nobody() {
    let ids = ["a", "b", "c"];
    let (mut fleet, clocks) = planned("f03-far", &ids, &[("a", 3600)]).await;
    assemble(&mut fleet, &["b", "c"]).await;
    let change = json!({ "set": { "x": encoded("1") }, "max_inactive": "-1" });
    let answer = fleet.core("b").api.patch(APP, "S", "all", &change).await;
    assert_eq!(answer.expect("an answer")["copies"], 2);
    fleet.begin("a");
    fleet.ready("a", SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    fleet.see_each_other(SOON).await;

    let path = format!("/v1/sessions/{APP}/S?ack=all&timeout_ms=500");
    let change = json!({ "set": { "x": encoded("from the future") } }).to_string();
    let answer = fleet
        .core("a")
        .api
        .call("PATCH", &path, change.as_bytes())
        .await
        .expect("an answer");
    assert_eq!(answer.json()["copies"], 1, "a copy that refused is none");
    for id in ["b", "c"] {
        assert!(fleet.metric(id, "limpet_skew_refused_total", "").await > 0);
        assert_eq!(fleet.text(id, "S", "x").await.as_deref(), Some("1"));
        let created = ahead(&fleet, id).await;
        assert!(created.abs() <= 2, "the stamps of {id} are {created} s ahead");
    }
    assert!(fleet.set("b", "S", "x", "2", "quorum").await >= 2);
    wait::until("c has what b wrote", SOON, async || {
        fleet.text("c", "S", "x").await.as_deref() == Some("2")
    })
    .await;

    clocks["a"].set(0);
    fleet.kill("a");
    fleet.start("a", SOON).await;
    WrongClock::tidy(fleet.core("a").process.id());
    fleet.see_each_other(SOON).await;
    fleet.agree(SOON).await;
    assert_eq!(fleet.set("a", "S", "x", "3", "all").await, 3);
    assert_eq!(fleet.text("c", "S", "x").await.as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_a_clock_that_jumps_by_an_hour_ends_no_session_and_stops_no_timer() {
    let ids = ["a", "b", "c"];
    let (mut fleet, clocks) = planned("f04", &ids, &[("a", 0), ("b", 0)]).await;
    assemble(&mut fleet, &ids).await;
    fleet.set("c", "watch", "x", "1", "all").await;
    for number in 0..19 {
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
    fleet.ready("a", SOON).await;
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
