//! Counters in backup mode: an application reads, adds one and writes, at whichever node it comes to, while nodes that do not
//! hold the counter read and touch it. None ever goes back behind what two nodes have acknowledged, when one of the nodes is
//! killed or leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use limpet_tests::random::Random;
use limpet_tests::wait;
use limpet_tests::writers::{APP, counter};
use serde_json::json;

const ALL: [&str; 3] = ["a", "b", "c"];
const COUNTERS: usize = 20;
const SOON: Duration = Duration::from_secs(10);
/// Missing copies are made again in less.
const MADE_AGAIN: Duration = Duration::from_secs(30);
/// How many steps are made before a node goes, and how many right after.
const STEPS: usize = 60;

fn backup(node: &mut NodePlan) {
    node.membership = "probe_interval = \"100ms\"\ndrop_time = \"1s\"".to_owned();
    node.extra = "\n[replication]\nmode = \"backup\"\ncopies = 1\n".to_owned();
}

/// An application that counts.
struct Counters {
    random: Random,
    /// The last value of each that two nodes acknowledged.
    acknowledged: BTreeMap<String, u64>,
    /// Those that a node has taken a write of.
    written: BTreeSet<String>,
}

impl Counters {
    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.random.number() as usize % among.len()]
    }

    /// A counter is read at a node; `None` where the node asks for patience.
    async fn read(&self, fleet: &Fleet, at: &str, id: &str) -> Option<u64> {
        let value = counter(&fleet.core(at).api, id).await.ok()?;
        let least = self.acknowledged.get(id).copied().unwrap_or(0);
        assert!(
            value >= least,
            "{id} is {value} at {at}, and two nodes acknowledged {least}"
        );
        Some(value)
    }

    /// One step: somebody looks and touches, somebody else reads, adds one and writes.
    async fn step(&mut self, fleet: &Fleet, nodes: &[&str]) {
        let id = format!("counter{}", self.random.number() as usize % COUNTERS);
        let (looks, writes) = (self.pick(nodes), self.pick(nodes));
        let _ = self.read(fleet, looks, &id).await;
        let touch = format!("/v1/sessions/{APP}/{id}/touch");
        let _ = fleet.core(looks).api.call("POST", &touch, b"").await; // it may ask for patience, too
        let Some(value) = self.read(fleet, writes, &id).await else {
            return;
        };
        let change = json!({ "set": { "n": encoded((value + 1).to_string()) } });
        let answer = fleet.core(writes).api.patch(APP, &id, "all", &change).await;
        if let Ok(answer) = answer {
            self.written.insert(id.clone());
            if answer["copies"].as_u64() >= Some(2) {
                self.acknowledged.insert(id, value + 1);
            }
        }
    }

    async fn steps(&mut self, fleet: &Fleet, nodes: &[&str], count: usize) {
        for _ in 0..count {
            self.step(fleet, nodes).await;
        }
    }

    /// Every node that is left answers for every counter.
    async fn all_are_there(&self, fleet: &Fleet, nodes: &[&str]) {
        for at in nodes {
            for id in self.acknowledged.keys() {
                wait::until(&format!("{at} answers for {id}"), SOON, async || {
                    self.read(fleet, at, id).await.is_some()
                })
                .await;
            }
        }
    }
}

/// Waits until every counter is held by two nodes, and nobody holds one for others.
async fn held_twice(fleet: &Fleet, counters: usize) {
    wait::eventually("every counter is held by two nodes", MADE_AGAIN, async || {
        let (mut held, mut misplaced) = (0, 0);
        for core in fleet.running() {
            held += core.digest().await?.0;
            let waiting = core.api.metric("limpet_sessions_misplaced", "").await;
            misplaced += waiting.map_err(|e| e.to_string())?;
        }
        if held == 2 * counters as u64 && misplaced == 0 {
            Ok(())
        } else {
            Err(format!(
                "{held} copies of {counters} counters, {misplaced} misplaced"
            ))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_counter_goes_back_when_a_node_is_killed_or_leaves() {
    let mut fleet = Fleet::assembled("counters", &ALL, backup).await;
    let mut counters = Counters {
        random: Random::announced("which counter at which node"),
        acknowledged: BTreeMap::new(),
        written: BTreeSet::new(),
    };
    for round in 0..6 {
        let goes = ALL[round % ALL.len()];
        let stay: Vec<_> = ALL.into_iter().filter(|id| *id != goes).collect();
        counters.steps(&fleet, &ALL, STEPS).await;
        let begin = Instant::now();
        if round % 2 == 0 {
            fleet.kill(goes);
        } else {
            fleet.stop(goes, SOON).await;
        }
        counters.steps(&fleet, &stay, STEPS).await;
        counters.all_are_there(&fleet, &stay).await;
        println!("round {round}: without {goes} for {:?}", begin.elapsed());
        fleet.start(goes, MADE_AGAIN).await;
        fleet.see_each_other(MADE_AGAIN).await;
        held_twice(&fleet, counters.written.len()).await;
        counters.all_are_there(&fleet, &ALL).await;
    }
    assert_eq!(counters.acknowledged.len(), COUNTERS, "each was counted");
}
