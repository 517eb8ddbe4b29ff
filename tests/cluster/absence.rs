//! Nodes that were away, cut off or stopped: what ended meanwhile stays ended, what was used meanwhile lives on.

use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::APP;
use serde_json::json;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
/// FailureDetector is found, links come back and tables are compared in less.
const HEALED: Duration = Duration::from_secs(20);

fn watchful(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
}

/// Uses a session; says whether it was still there.
async fn touch(fleet: &Fleet, at: &str, id: &str) -> bool {
    let path = format!("/v1/sessions/{APP}/{id}/touch");
    let answer = fleet
        .core(at)
        .api
        .call("POST", &path, b"")
        .await
        .expect("an answer");
    assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
    answer.status == 200
}

async fn begin(fleet: &Fleet, at: &str, id: &str, max_inactive: &str) {
    let change = json!({ "set": { "x": encoded(id) }, "max_inactive": max_inactive });
    let answer = fleet.core(at).api.patch(APP, id, "all", &change).await;
    assert_eq!(answer.expect("an answer")["copies"], fleet.running().count());
}

/// Whether a node lists a session, which is no use of it.
async fn lists(fleet: &Fleet, at: &str, id: &str) -> bool {
    fleet.core(at).api.lists(APP, id).await.expect("a list")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_a_session_deleted_while_nodes_are_cut_off_and_stopped_stays_deleted() {
    let mut fleet = Fleet::assembled("f02", &ALL, watchful).await;
    for id in ["gone", "kept"] {
        fleet.set("a", id, "x", "1", "all").await;
    }
    fleet.core("d").process.freeze().await;
    fleet.network().cut(&["e"], &["a", "b", "c", "d"]);
    fleet.sees("a", &["d", "e"], &["down"], HEALED).await;
    fleet.end("a", "gone").await;
    // What the cut-off node writes to it is a write to a session that is over.
    fleet.set("e", "gone", "y", "2", "none").await;
    fleet.core("d").process.thaw();
    fleet.network().heal();
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 1);
    // Nor does it come back with a node that gets the table from one that was away.
    for id in ["a", "b", "c"] {
        fleet.kill(id);
    }
    for id in ["a", "b", "c"] {
        fleet.start(id, HEALED).await;
    }
    fleet.see_each_other(HEALED).await;
    assert_eq!(fleet.agree(HEALED).await, 1);
    for id in ALL {
        assert_eq!(fleet.get(id, "gone").await, None, "it came back at {id}");
    }
}

/// Long enough for everybody else to have forgotten that the sessions ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f02_nodes_away_for_longer_than_tombstones_live_bring_nothing_back() {
    let fleet = Fleet::assembled("f02-long", &ALL, |node| {
        watchful(node);
        node.extra = "\n[replication]\ntombstone_life = \"10s\"\n".to_owned();
    })
    .await;
    for number in 0..20 {
        fleet.set("a", &format!("gone{number}"), "x", "1", "all").await;
        fleet.set("a", &format!("kept{number}"), "x", "1", "all").await;
    }
    fleet.core("d").process.freeze().await;
    fleet.network().cut(&["e"], &["a", "b", "c", "d"]);
    fleet.sees("a", &["d", "e"], &["down"], HEALED).await;
    for number in 0..20 {
        fleet.end("b", &format!("gone{number}")).await;
        fleet.set("c", &format!("kept{number}"), "x", "2", "none").await;
    }
    for id in ["a", "b", "c"] {
        wait::until(&format!("{id} has forgotten the ends"), HEALED, async || {
            fleet.metric(id, "limpet_tombstones", "").await == 0
        })
        .await;
    }
    fleet.core("d").process.thaw();
    fleet.network().heal();
    let healed = Instant::now();
    fleet.see_each_other(HEALED).await;
    let sessions = wait::eventually("the tables are equal", HEALED, async || {
        for number in 0..20 {
            let id = format!("gone{number}");
            let path = format!("/v1/sessions/{APP}/{id}");
            let answer = fleet.core("a").api.call("GET", &path, b"").await;
            let answer = answer.map_err(|e| e.to_string())?;
            assert_ne!(answer.status, 200, "{id} came back at a: {}", answer.text());
        }
        let (a, d, e) = (
            fleet.core("a").digest().await?,
            fleet.core("d").digest().await?,
            fleet.core("e").digest().await?,
        );
        if a == d && a == e {
            Ok(a.0)
        } else {
            Err(format!("{a:?} {d:?} {e:?}"))
        }
    })
    .await;
    println!("equal {:?} after the cut healed", healed.elapsed());
    assert_eq!(sessions, 20);
    for id in ALL {
        for number in 0..20 {
            assert_eq!(
                fleet.get(id, &format!("gone{number}")).await,
                None,
                "it came back at {id}"
            );
            let kept = fleet.text(id, &format!("kept{number}"), "x").await;
            assert_eq!(kept.as_deref(), Some("2"), "at {id}");
        }
    }
    assert_eq!(fleet.set("e", "after", "x", "1", "all").await, 5);
}

/// Uses around the moment of the end, at another node than the one that ends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_use_at_the_last_moment_counts_everywhere_or_is_refused() {
    const IDLE: Duration = Duration::from_secs(3);
    const AROUND: Duration = Duration::from_millis(150);
    let fleet = Fleet::assembled("f13", &["a", "b", "c"], watchful).await;
    let mut begun = Vec::new();
    for number in 0..60 {
        begin(&fleet, "a", &format!("S{number:02}"), "3s").await;
        begun.push(Instant::now());
    }
    // From well before the end to well after it.
    let from = |number: usize| IDLE - AROUND + AROUND.mul_f64(number as f64 % 20.0 / 10.0);
    let mut moments: Vec<_> = (0..begun.len())
        .map(|number| (begun[number] + from(number), number))
        .collect();
    moments.sort();
    let mut last_touch = vec![false; begun.len()];
    for (moment, number) in moments {
        tokio::time::sleep_until(moment.into()).await;
        last_touch[number] = touch(&fleet, ["b", "c"][number % 2], &format!("S{number:02}")).await;
    }
    let counted = last_touch.iter().filter(|last_touch| **last_touch).count();
    println!("{counted} of {} uses came in time", last_touch.len());
    // All agree, before those that were used end in their turn.
    wait::eventually(
        "a session lives on exactly where its use counted",
        IDLE / 2,
        async || {
            for (number, last_touch) in last_touch.iter().enumerate() {
                for id in ["a", "b", "c"] {
                    let session = format!("S{number:02}");
                    let listed = lists(&fleet, id, &session).await;
                    if listed != *last_touch && begun[number].elapsed() < IDLE * 2 - AROUND {
                        return Err(format!(
                            "{id} lists {session}: {listed}, its touch counted: {last_touch}"
                        ));
                    }
                }
            }
            Ok(())
        },
    )
    .await;
    wait::until("all end everywhere", HEALED, async || {
        for core in fleet.running() {
            if !core.digest().await.is_ok_and(|(sessions, _)| sessions == 0) {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_a_use_on_one_side_of_a_cut_outlives_idleness_on_the_other() {
    let fleet = Fleet::assembled("f13-cut", &ALL, watchful).await;
    begin(&fleet, "a", "used", "3s").await;
    begin(&fleet, "a", "idle", "3s").await;
    fleet.network().cut(&["a", "b"], &["c", "d", "e"]);
    use_until(&fleet, "it ends where it was not used", async || {
        !lists(&fleet, "c", "used").await && !lists(&fleet, "e", "idle").await
    })
    .await;
    fleet.network().heal();
    use_until(&fleet, "it is back there", async || {
        lists(&fleet, "c", "used").await && lists(&fleet, "e", "used").await
    })
    .await;
    fleet.see_each_other(HEALED).await;
    for id in ALL {
        assert_eq!(
            fleet.text(id, "used", "x").await.as_deref(),
            Some("used"),
            "at {id}"
        );
        assert!(!lists(&fleet, id, "idle").await, "idle came back at {id}");
    }
}

/// Keeps using `used` at `a`, which always must be there, until `done`.
async fn use_until(fleet: &Fleet, what: &str, mut done: impl AsyncFnMut() -> bool) {
    wait::until(what, HEALED, async || {
        assert!(
            touch(fleet, "a", "used").await,
            "{what}: it ended while it was used"
        );
        done().await
    })
    .await;
}
