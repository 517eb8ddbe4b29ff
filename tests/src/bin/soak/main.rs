//! `make proof-soak`: five real cores and two proxies under faults for as long as wanted, every answer checked.
//!
//! ```text
//! soak [--minutes N] [--mode delta|backup|both] [--without renames|late-reports]... [--keep-going]
//! ```
//! Half of the time the cluster is in `delta` mode, half of it in `backup` mode with three holders of each session. A run
//! goes in rounds: some seconds in which only clocks are set, some in which anything may fail, then a rest, in which faults
//! are healed, clients wait and the whole cluster is compared with the ledger. Everything is drawn from one seed, which is
//! printed; what real processes make of it differs from run to run. It exits with 1 when a claim was broken, after its
//! story, and with 2 when the soak itself failed. It stops what it started, on Ctrl-C too.

mod browser;
mod caller;
mod faults;
mod ledger;
mod operations;
mod options;
mod page;
mod plan;
mod report;
mod rest;
mod stage;
mod users;
mod visitors;
mod watch;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use limpet_tests::random::Random;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use ledger::{Ledger, Mode, Weather};
use options::Options;
use plan::Ground;
use stage::{NODES, PROXIES, Stage};
use users::User;
use visitors::Visitor;
use world::{Violation, World};

/// Users of the core's API, and how long each rests between two steps on average.
const USERS: (usize, u64) = (12, 700);
/// Visitors of the proxies, and how long each rests between two steps on average.
const VISITORS: (usize, u64) = (8, 900);
/// How long nothing but clocks disturbs a cluster between two storms.
const CALM: Duration = Duration::from_secs(12);
/// How long a storm takes at least, and how much longer at most, in seconds.
const STORM_S: (u64, u64) = (15, 20);
/// Nodes that lose their memory in one storm, as often as they stand here.
const LOSSES: [usize; 6] = [0, 1, 1, 2, 2, 3];
/// How long clients may take to end: an answer may take half a minute.
const ENDING: Duration = Duration::from_secs(60);

/// What is left of one run.
struct Run {
    violations: Vec<Violation>,
    summary: String,
    interrupted: bool,
}

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("soak: {sentence}");
            return ExitCode::from(64);
        }
    };
    let mut random = Random::announced("soak");
    let mut modes = Vec::new();
    if options.modes.0 {
        modes.push(("delta", Mode::Delta));
    }
    if options.modes.1 {
        modes.push(("backup", Mode::Backup { holders: 3 }));
    }
    let length = Duration::from_secs(60 * options.minutes) / modes.len().max(1) as u32;
    let mut broken = 0;
    for (name, mode) in modes {
        let seed = random.number();
        // A thread of its own, which moves into the clients' network; what panics has stopped what it started.
        let run = std::thread::spawn(move || soak(options, name, mode, seed, length)).join();
        let Ok(run) = run else {
            eprintln!("soak: the soak itself failed in {name} mode");
            return ExitCode::from(2);
        };
        for violation in &run.violations {
            println!("{}", report::story(violation));
        }
        println!("{}", run.summary);
        broken += run.violations.len();
        if run.interrupted || broken > 0 && !options.keep_going {
            break;
        }
    }
    match broken {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn soak(options: Options, name: &'static str, mode: Mode, seed: u64, length: Duration) -> Run {
    let mut stage = Stage::plan(mode);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let run = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).expect("a handler");
        let mut terminate = signal(SignalKind::terminate()).expect("a handler");
        let begin = tokio::select! {
            biased;
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            () = stage.start() => Some(()),
        };
        if begin.is_none() {
            return Run::nothing(name);
        }
        let weather = Weather::new(mode, NODES.len(), Duration::ZERO);
        let ledger = Ledger::new(weather);
        let world = World::new(ledger, stage.apis(), stage.fronts(), options);
        let world = Arc::new(world);
        println!(
            "{name}: five cores, {} users, {} visitors; {}",
            USERS.0,
            VISITORS.0,
            stage.site.scratch.path().display()
        );
        let interrupted = tokio::select! {
            biased;
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            () = rounds(&world, &mut stage, name, seed, length) => false,
        };
        world.stop();
        Run {
            violations: world.violations(),
            summary: format!(
                "{name}, in all:\n{}",
                report::line(&world, name, world.now().as_secs() / 60)
            ),
            interrupted,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    if !run.violations.is_empty() {
        println!("kept for a look: {}", stage.site.scratch.keep().display());
    }
    run
}

impl Run {
    fn nothing(name: &str) -> Self {
        Self {
            violations: Vec::new(),
            summary: format!("{name}: interrupted before it began"),
            interrupted: true,
        }
    }
}

/// Clients and faults for so long, in rounds that end with a rest.
async fn rounds(world: &Arc<World>, stage: &mut Stage, name: &'static str, seed: u64, length: Duration) {
    let mut random = Random::seeded(seed);
    let mut clients = Vec::new();
    for number in 0..USERS.0 {
        let user = User::new(world, number, Random::seeded(random.number()), USERS.1);
        clients.push(tokio::spawn(user.work()));
    }
    for number in 0..VISITORS.0 {
        let visitor = Visitor::new(world, number, Random::seeded(random.number()), VISITORS.1);
        clients.push(tokio::spawn(visitor.work()));
    }
    for node in 0..NODES.len() {
        clients.push(tokio::spawn(watch::watch(Arc::clone(world), node)));
    }
    let lines = tokio::spawn(report::lines(Arc::clone(world), name));
    let begun = Instant::now();
    while begun.elapsed() < length
        && !world.is_stopped()
        && clients.iter().all(|client| !client.is_finished())
    {
        let ground = Ground {
            nodes: NODES.len(),
            proxies: PROXIES.len(),
            length: CALM,
            losses: LOSSES[random.below(LOSSES.len() as u64) as usize],
        };
        let calm = plan::calm(ground, Random::seeded(random.number()));
        faults::carry_out(world, stage, calm, CALM).await;
        let length = Duration::from_secs(STORM_S.0 + random.below(STORM_S.1));
        let storm = plan::storm(Ground { length, ..ground }, Random::seeded(random.number()));
        faults::carry_out(world, stage, storm, length).await;
        if !world.is_stopped() {
            rest::rest(world, stage).await;
        }
    }
    world.stop();
    lines.abort();
    for client in clients {
        let ended = tokio::time::timeout(ENDING, client).await;
        ended.expect("a client ends").expect("a client does not panic");
    }
}
