//! A rest: faults are over, clients wait, and the claims about a cluster at rest are checked. Afterwards the ledger knows
//! what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use limpet_tests::cluster::Core;
use limpet_tests::writers::APP;
use serde_json::Value;
use tokio::time::Instant;

use crate::caller::{self, Answer};
use crate::faults::look_for_ends;
use crate::ledger::{Broken, Mode, Shown};
use crate::stage::{NODES, Stage};
use crate::world::{Tally, World, node_name};

/// How long nodes may take to be ready and to see each other, on a machine that does other things too.
const TOGETHER: Duration = Duration::from_secs(60);
/// How long tables may take to be equal, or copies to be where they belong: some intervals of comparing tables.
const EQUAL: Duration = Duration::from_secs(45);
/// How long a node may be unable to answer for a session at rest.
const ANSWERED: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(100);

/// Comes to rest and checks it.
pub async fn rest(world: &World, stage: &mut Stage) {
    let _quiet = world.gate.write().await;
    let begun = Instant::now();
    look_for_ends(world, stage);
    let result = come_together(stage).await;
    stage.tidy();
    let result = match result {
        Ok(()) => equal(world, stage).await,
        broken => broken,
    };
    if let Err(broken) = result {
        world.judge(None, "at rest", Err(broken));
        world.stop();
        return;
    }
    let agreed = begun.elapsed();
    check_sessions(world).await;
    check_lists(world, stage).await;
    check_counts(world, stage).await;
    let now = world.now();
    world.ledger().weather.on_rest(now);
    Tally::add(&world.tally.rests);
    world.tell_fault(format!("rest: all agree after {:.1} s", agreed.as_secs_f64()));
}

async fn until(
    claim: &'static str,
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), Broken> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(()) => return Ok(()),
            Err(last) if begun.elapsed() > within => {
                let what = format!("{what}: not within {within:?}; last: {last}");
                return Err(Broken { claim, what });
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

async fn come_together(stage: &Stage) -> Result<(), Broken> {
    let ready = stage.all_ready(TOGETHER).await;
    ready.map_err(|last| Broken {
        claim: "C8",
        what: format!("a node is not ready within {TOGETHER:?}: {last}"),
    })?;
    until(
        "C8",
        "every node sees every other as ready",
        TOGETHER,
        async || {
            for core in stage.running() {
                for other in NODES {
                    let state = core.state_of(other).await;
                    if state.as_deref() != Some("ready") {
                        return Err(format!("{} sees {other} as {state:?}", core.node.id));
                    }
                }
            }
            Ok(())
        },
    )
    .await
}

/// C1: equal tables; in backup mode every session where it belongs, as often as it should be.
async fn equal(world: &World, stage: &Stage) -> Result<(), Broken> {
    let mode = world.ledger().weather.mode();
    match mode {
        Mode::Delta => {
            until("C1", "digests agree", EQUAL, async || {
                let mut digests = BTreeMap::new();
                for core in stage.running() {
                    digests.insert(&core.node.id, core.digest().await?);
                }
                let first = digests.values().next();
                match digests.values().all(|digest| Some(digest) == first) {
                    true => Ok(()),
                    false => Err(format!("{digests:?}")),
                }
            })
            .await
        }
        Mode::Backup { holders } => {
            until(
                "C1",
                "every session is held where it belongs",
                EQUAL,
                async || {
                    let mut held: BTreeMap<String, u64> = BTreeMap::new();
                    for core in stage.running() {
                        let misplaced = metric(core, "limpet_sessions_misplaced").await?;
                        if misplaced > 0 {
                            return Err(format!("{misplaced} sessions are misplaced at {}", core.node.id));
                        }
                        for id in listed(core).await? {
                            *held.entry(id).or_default() += 1;
                        }
                    }
                    match held.iter().find(|(_, count)| **count != holders) {
                        None => Ok(()),
                        Some((id, count)) => Err(format!("{id} is held by {count} nodes, not {holders}")),
                    }
                },
            )
            .await
        }
    }
}

/// C2, C3, C11: every session under every id at every node.
async fn check_sessions(world: &World) {
    let present = world.ledger().present();
    for (name, ids) in present {
        if world.is_stopped() {
            return;
        }
        let mut shown = Vec::new();
        let mut unanswered = None;
        for node in 0..world.nodes.len() {
            let mut here = Shown::new();
            for id in &ids {
                match shown_at(world, &name, id, node).await {
                    Ok(Some(values)) => drop(here.insert(id.clone(), values)),
                    Ok(None) => {}
                    Err(last) => {
                        unanswered = Some(format!("{} does not answer for {id}: {last}", node_name(node)))
                    }
                }
            }
            shown.push(here);
        }
        let result = match unanswered {
            None => world.ledger().settle(&name, &shown),
            Some(what) => Err(Broken { claim: "C1", what }),
        };
        world.judge(Some(&name), "at rest", result);
    }
}

async fn shown_at(
    world: &World,
    name: &str,
    id: &str,
    node: usize,
) -> Result<Option<crate::ledger::Values>, String> {
    let begun = Instant::now();
    let path = format!("/v1/sessions/{APP}/{id}");
    loop {
        let at = world.now();
        let answer = match world.nodes.get(node) {
            Some(to) => caller::call(world, to, "GET", &path, &Value::Null).await,
            None => return Err("no such node".to_owned()),
        };
        let line = format!("at rest: {} GET {id} -> {answer}", node_name(node));
        world.ledger().session(name).tell(at, line);
        match answer {
            Answer::Http(200, body) => return Ok(Some(caller::attributes(&body))),
            Answer::Http(404, _) => return Ok(None),
            answer if begun.elapsed() > ANSWERED => return Err(answer.to_string()),
            _ => tokio::time::sleep(STEP).await,
        }
    }
}

/// C3: nothing that was gone is listed.
async fn check_lists(world: &World, stage: &Stage) {
    for core in stage.running() {
        let listed = match listed(core).await {
            Ok(listed) => listed,
            Err(what) => {
                world.judge(None, &core.node.id, Err(Broken { claim: "C1", what }));
                continue;
            }
        };
        for id in listed.into_iter().collect::<BTreeSet<_>>() {
            let (name, result) = {
                let ledger = world.ledger();
                (ledger.name_of(&id).map(str::to_owned), ledger.on_listed(&id))
            };
            world.judge(name.as_deref(), &core.node.id, result);
        }
    }
}

/// Every digest and every sum that a node keeps is what its records give.
async fn check_counts(world: &World, stage: &Stage) {
    for core in stage.running() {
        let answer = core.api.call("POST", "/v1/selfcheck", b"").await;
        let result = match answer {
            Ok(answer) if answer.json()["equal"] == true => Ok(()),
            Ok(answer) => Err(Broken {
                claim: "C1",
                what: format!("its selfcheck says {}", answer.text()),
            }),
            Err(e) => Err(Broken {
                claim: "C1",
                what: format!("it does not check itself: {e}"),
            }),
        };
        world.judge(None, &core.node.id, result);
    }
}

async fn listed(core: &Core) -> Result<Vec<String>, String> {
    let sessions = core
        .api
        .list(APP)
        .await
        .map_err(|e| format!("{}: {e}", core.node.id))?;
    let ids = sessions
        .iter()
        .filter_map(|session| session["id"].as_str().map(str::to_owned));
    Ok(ids.collect())
}

async fn metric(core: &Core, name: &str) -> Result<u64, String> {
    core.api
        .metric(name, "")
        .await
        .map_err(|e| format!("{}: {e}", core.node.id))
}
