//! Backup mode: two nodes of five hold a session, all five answer for it, and a dead holder is made up for.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::{self, APP, Plan, Writer};
use serde_json::json;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
const SOON: Duration = Duration::from_secs(10);
/// Missing copies are made again in less.
const MADE_AGAIN: Duration = Duration::from_secs(30);

fn backup(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
    node.extra = "\n[replication]\nmode = \"backup\"\ncopies = 1\n".to_owned();
}

/// Waits until `sessions` sessions are held twice each, and nobody holds one that is another's to hold.
async fn held_twice(fleet: &Fleet, sessions: u64) {
    wait::eventually("every session is held by two nodes", MADE_AGAIN, async || {
        let (mut held, mut misplaced) = (BTreeMap::new(), 0);
        for core in fleet.running() {
            held.insert(&core.node.id, core.digest().await?.0);
            let name = "limpet_sessions_misplaced";
            misplaced += core.api.metric(name, "").await.map_err(|e| e.to_string())?;
        }
        if held.values().sum::<u64>() == 2 * sessions && misplaced == 0 {
            Ok(())
        } else {
            Err(format!("{held:?} of {sessions} sessions, {misplaced} misplaced"))
        }
    })
    .await;
}

/// Sets an attribute at a node; for a moment after somebody came or went, it may ask for patience.
async fn set(fleet: &Fleet, at: &str, id: &str, name: &str, value: &str) {
    let change = json!({ "set": { name: encoded(value) } });
    wait::eventually(&format!("{at} takes {id}"), SOON, async || {
        let api = &fleet.core(at).api;
        api.patch(APP, id, "none", &change)
            .await
            .map_err(|e| e.to_string())
    })
    .await;
}

/// Waits until at least two nodes hold each of these sessions.
async fn held_by_two(fleet: &Fleet, steps: &BTreeMap<String, writers::Step>) {
    wait::eventually("two nodes or more hold every session", MADE_AGAIN, async || {
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        for core in fleet.running() {
            for session in core.api.list(APP).await.map_err(|e| e.to_string())? {
                *holders
                    .entry(session["id"].as_str().unwrap_or_default().to_owned())
                    .or_default() += 1;
            }
        }
        let alone = steps
            .keys()
            .find(|id| holders.get(*id).is_none_or(|holders| *holders < 2));
        alone.map_or(Ok(()), |id| Err(format!("{id} is held by {:?}", holders.get(id))))
    })
    .await;
}

/// Reads an attribute at every node that runs. A node may ask for patience, but must not say that there is no such
/// session.
async fn answered_everywhere(fleet: &Fleet, id: &str, name: &str, value: &str) {
    for core in fleet.running() {
        let what = format!("{} answers for {id}", core.node.id);
        let session = wait::eventually(&what, SOON, async || {
            let path = format!("/v1/sessions/{APP}/{id}");
            let (status, session) = core.api.get(&path).await.map_err(|e| e.to_string())?;
            assert_ne!(status, 404, "{} says that there is no {id}", core.node.id);
            if status == 200 {
                Ok(session)
            } else {
                Err(session.to_string())
            }
        })
        .await;
        let held = attribute(&session, name);
        assert_eq!(
            held.as_deref(),
            Some(value.as_bytes()),
            "{id} at {}",
            core.node.id
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_a_killed_holder_is_made_up_for_and_all_others_go_on_answering() {
    const SESSIONS: u64 = 300;
    let mut fleet = Fleet::assembled("backup", &ALL, backup).await;
    for number in 0..SESSIONS {
        let at = ALL[number as usize % ALL.len()];
        set(&fleet, at, &format!("S{number}"), "x", "1").await;
    }
    held_twice(&fleet, SESSIONS).await;
    for (round, victim) in ["b", "d"].into_iter().enumerate() {
        fleet.kill(victim);
        for number in (0..SESSIONS).step_by(7) {
            answered_everywhere(&fleet, &format!("S{number}"), "x", "1").await;
        }
        held_twice(&fleet, SESSIONS).await;
        println!("round {round}: copies of {victim} were made again");
    }
    for id in ["b", "d"] {
        fleet.start(id, SOON).await;
    }
    fleet.see_each_other(SOON).await;
    held_twice(&fleet, SESSIONS).await;
    for number in 0..SESSIONS {
        answered_everywhere(&fleet, &format!("S{number}"), "x", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_nothing_acknowledged_by_two_holders_is_lost_when_one_is_killed_under_load() {
    let mut fleet = Fleet::assembled("backup-load", &ALL, backup).await;
    let plan = |prefix: &str| Plan {
        prefix: prefix.to_owned(),
        sessions: 30,
        ack: "one",
        rest: Duration::from_millis(2),
    };
    let orders = [["b", "c", "a"], ["c", "a", "b"]];
    let writers = orders.map(|order| {
        let nodes = order.iter().map(|id| fleet.address(id)).collect();
        Writer::start(plan(&format!("counter-{}-", order[0])), nodes)
    });
    for victim in ["d", "e", "b"] {
        let done = writers.iter().map(Writer::done).sum::<usize>();
        wait::until("applications write", SOON, async || {
            writers.iter().map(Writer::done).sum::<usize>() > done + 200
        })
        .await;
        fleet.kill(victim);
        fleet.sees("a", &[victim], &["down"], SOON).await;
        let done = writers.iter().map(Writer::done).sum::<usize>();
        wait::until("applications go on", SOON, async || {
            writers.iter().map(Writer::done).sum::<usize>() > done + 200
        })
        .await;
        fleet.start(victim, SOON).await;
        fleet.see_each_other(SOON).await;
        for writer in &writers {
            held_by_two(&fleet, &writer.steps()).await;
        }
    }
    let mut all = Vec::new();
    for writer in writers {
        let written = writer.finish().await;
        assert!(written.failures.is_empty(), "{:?}", written.failures);
        all.push(written);
    }
    held_twice(&fleet, 60).await;
    for written in all {
        for core in fleet.running() {
            wait::eventually(
                &format!("{} has every last step", core.node.id),
                SOON,
                async || {
                    let safe = written.steps.iter().filter(|(_, step)| step.copies >= 2);
                    writers::holds_all(&core.api, &safe.map(|(id, step)| (id.clone(), *step)).collect()).await
                },
            )
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_a_cut_in_backup_mode_loses_nothing_and_brings_nothing_back() {
    let fleet = Fleet::assembled("backup-cut", &ALL, backup).await;
    for number in 0..40 {
        set(&fleet, "a", &format!("both{number}"), "x", "old").await;
        set(&fleet, "b", &format!("gone{number}"), "x", "old").await;
    }
    held_twice(&fleet, 80).await;
    fleet.network().cut(&["a", "b"], &["c", "d", "e"]);
    fleet.sees("a", &["c", "d", "e"], &["down"], SOON).await;
    fleet.sees("c", &["a", "b"], &["down"], SOON).await;
    for number in 0..40 {
        set(&fleet, "a", &format!("left{number}"), "x", "left").await;
        set(&fleet, "d", &format!("right{number}"), "x", "right").await;
        // Either side may hold no copy of it; then it says that it cannot know.
        for (at, name) in [("b", "left"), ("e", "right")] {
            let change = json!({ "set": { name: encoded("1") } });
            let _ = fleet
                .core(at)
                .api
                .patch(APP, &format!("both{number}"), "none", &change)
                .await;
        }
        let path = format!("/v1/sessions/{APP}/gone{number}");
        for at in ["a", "c"] {
            let _ = fleet.core(at).api.call("DELETE", &path, b"").await;
        }
    }
    fleet.network().heal();
    fleet.see_each_other(MADE_AGAIN).await;
    held_twice(&fleet, 120).await;
    for number in 0..40 {
        answered_everywhere(&fleet, &format!("left{number}"), "x", "left").await;
        answered_everywhere(&fleet, &format!("right{number}"), "x", "right").await;
        answered_everywhere(&fleet, &format!("both{number}"), "x", "old").await;
        for id in ALL {
            assert_eq!(
                fleet.get(id, &format!("gone{number}")).await,
                None,
                "it came back at {id}"
            );
        }
    }
}
