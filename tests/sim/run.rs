//! Runs of seeds. In each, anything may fail at first; then a core is spared and has to come to rest. Many seeds run side by
//! side; each failure prints the line that repeats it, with what happened last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::plan::{Kind, Plan};
use crate::report::{Numbers, Reached};
use crate::rest;
use crate::world::World;

/// How much of a failure its line shows.
const FAILURE_SHOWN: usize = 400;
/// How many seeds a test run has.
const SEEDS: u64 = 300;
/// How many it has of each of the other kinds of clusters.
const SEEDS_OF_OTHERS: u64 = 100;
/// A range of at least so many seeds has to reach every rare branch.
const SEEDS_FOR_ALL: u64 = 300;
/// How long clients go on in the core after the faults.
const AFTERWARDS_US: u64 = 2_000_000;
/// How long the core may take to come to rest after the last request: a node that joins may be sent the table in pieces,
/// by one outside the core that is half broken, and waits for each as long as `state_transfer_timeout` (up to 20 s here).
const BUDGET_US: u64 = 60_000_000;
/// How often it is looked at.
const STEP_US: u64 = 250_000;

/// How a seed ended.
struct Outcome {
    failure: Option<String>,
    tail: String,
    hash: u64,
    reached: Reached,
    numbers: Numbers,
}

fn run(seed: u64, kind: Kind) -> Outcome {
    let plan = Plan::of(seed, kind);
    let safety = plan.safety.as_micros() as u64;
    let mut world = World::new(plan);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        world.run_until(safety);
        if world.failure.is_none() {
            come_to_rest(&mut world);
        }
    }));
    if ended.is_err() {
        world.fail("panic", "see above".into());
    }
    world.numbers.node_seconds = world.plan.nodes as f64 * world.now as f64 / 1e6;
    Outcome {
        failure: world.failure.take().map(|failure| {
            let options = &world.plan.options;
            let at = world.now as f64 / 1e6;
            format!(
                "{:?} {:?} at {at:.6}: {failure}",
                options.mode, options.tombstone_life
            )
        }),
        tail: format!("{:#?}\n{}", world.plan, world.trace.tail()),
        hash: world.trace.hash(),
        reached: world.reached,
        numbers: world.numbers,
    }
}

fn come_to_rest(world: &mut World) {
    crate::faults::spare_a_core(world);
    let healed = world.now;
    world.run_until(healed + AFTERWARDS_US);
    world.closed = Some(world.now);
    let mut problem = String::new();
    while world.failure.is_none() && world.now < healed + AFTERWARDS_US + BUDGET_US {
        let next = world.now + STEP_US;
        world.run_until(next);
        match rest::is_converged(world) {
            Ok(()) => {
                let took = world.now - healed - AFTERWARDS_US;
                world.numbers.converged_ms.push(took / 1000);
                rest::tables(world);
                return;
            }
            Err(why) => problem = why,
        }
    }
    world.fail(
        "C1",
        format!("the core {:?} has not come to rest: {problem}", world.core),
    );
}

/// What the environment says `name` is.
pub fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}: a number is expected")),
        Err(_) => default,
    }
}

#[test]
fn seeds() {
    let (from, seeds) = (number("LIMPET_SIM_FROM", 0), number("LIMPET_SIM_SEEDS", SEEDS));
    range(Kind::asked_for(), from, seeds);
}

#[test]
fn seeds_in_backup_mode() {
    range(Kind::Backup, 0, SEEDS_OF_OTHERS);
}

#[test]
fn seeds_where_tombstones_live_for_seconds() {
    range(Kind::Forgetful, 0, SEEDS_OF_OTHERS);
}

/// Runs `seeds` seeds from `from` on, all of which have to pass.
fn range(kind: Kind, from: u64, seeds: u64) {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let sum = Mutex::new((Reached::default(), Numbers::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let outcome = run(seed, kind);
                    let mut sum = sum.lock().expect("nobody panics with it");
                    sum.0.add(&outcome.reached);
                    sum.1.add(&outcome.numbers);
                    if let Some(failure) = outcome.failure {
                        let brief: String = failure.chars().take(FAILURE_SHOWN).collect();
                        println!("{}make sim SEEDS=1 FROM={seed}   # {brief}", kind.setting());
                        if seeds == 1 {
                            println!("{failure}\n{}", outcome.tail);
                        }
                        sum.2.push(seed);
                    } else if seeds == 1 {
                        println!("trace {:016x}", outcome.hash);
                    }
                }
            });
        }
    });
    let (reached, numbers, mut failed) = sum.into_inner().expect("nobody panics with it");
    println!(
        "{seeds} seeds from {from} in {:.1} s\n{}\nruns that reached: {}",
        began.elapsed().as_secs_f64(),
        numbers.report(),
        reached.runs()
    );
    failed.sort_unstable();
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}", failed.len());
    if seeds >= SEEDS_FOR_ALL {
        let missing = reached.missing();
        assert!(missing.is_empty(), "never reached in {seeds} seeds: {missing:?}");
    }
    if seeds >= SEEDS_FOR_ALL && kind == Kind::Delta {
        let worse = numbers.shortcomings();
        assert!(worse.is_empty(), "{worse:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in [3, 17, 40, 77] {
        let hash = || run(seed, Kind::Delta).hash;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
