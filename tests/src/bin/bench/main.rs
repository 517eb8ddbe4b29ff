//! `make bench`: what the work of Limpet costs, here and in its peers, side by side in one run.
//!
//! ```text
//! bench [--short] [ROW[:SUBJECT]...]        rows: proxying update transfer memory crash hold
//! ```
//! What is measured has processor 0 to itself; the load and everything else share processor 1. Rounds go through all
//! peers in turn where that is possible, so a disturbance of the machine does not fall on one of them alone. Only
//! ratios of one run mean anything. A full run writes `docs/BENCHMARKS.md`; a run of some rows, or a `--short` one,
//! only prints. `update:PATCH` measures only what has PATCH in its name, and prints no table. A row that fails is said
//! to have failed, and does not keep the others from being measured.

mod connections;
mod cpu;
mod crash;
mod hold;
mod load;
mod memory;
mod nodes;
mod proxying;
mod redis;
mod report;
mod tomcat;
mod transfer;
mod update;
mod wrk;

use std::process::ExitCode;
use std::time::Duration;

use report::Section;

/// How long one row may take before it is given up and its processes are stopped.
const ROW_MAX: Duration = Duration::from_secs(420);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Rounds of each measurement; odd, so that a median is one of the samples.
    pub rounds: usize,
    /// How long one measurement takes.
    pub window: Duration,
    /// Whether this is a trial whose figures nobody keeps.
    pub short: bool,
    /// Only what has this in its name; nothing for everything.
    pub only: &'static str,
}

impl Extent {
    const FULL: Self = Self {
        rounds: 3,
        window: Duration::from_secs(4),
        short: false,
        only: "",
    };
    const SHORT: Self = Self {
        rounds: 1,
        window: Duration::from_secs(1),
        short: true,
        only: "",
    };
}

type Row = (&'static str, fn(Extent) -> Section);

/// In the order of the page.
const ROWS: [Row; 6] = [
    ("proxying", |extent| in_time(proxying::run(extent))),
    ("update", |extent| in_time(update::run(extent))),
    ("transfer", |extent| in_time(transfer::run(extent))),
    ("memory", |extent| in_time(memory::run(extent))),
    ("crash", |extent| in_time(crash::run(extent))),
    ("hold", |extent| in_time(hold::run(extent))),
];

fn main() -> ExitCode {
    limpet_core::base::allocator::tidy_up_at_once(); // as the daemon does, for the row that measures an engine in this process
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = arguments.iter().any(|argument| argument == "--short");
    arguments.retain(|argument| argument != "--short");
    if let [hold::ROUND, mode, sessions] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        hold::round(mode, sessions);
        return ExitCode::SUCCESS;
    }
    // For as long as the program runs: rows have threads of their own.
    let arguments: &'static [String] = arguments.leak();
    let wanted: Vec<(&str, &str)> = arguments
        .iter()
        .map(|argument| argument.split_once(':').unwrap_or((argument, "")))
        .collect();
    if let Some((unknown, _)) = wanted
        .iter()
        .find(|(name, _)| !ROWS.iter().any(|(row, _)| row == name))
    {
        let rows: Vec<_> = ROWS.iter().map(|(row, _)| *row).collect();
        eprintln!("bench: there is no row {unknown:?}; rows: {}", rows.join(", "));
        return ExitCode::from(64);
    }
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("bench: two processors are needed, one for what is measured and one for everything else");
        return ExitCode::FAILURE;
    }
    cpu::stay_on(cpu::LOAD);
    let busy = report::load_average();
    let extent = if short { Extent::SHORT } else { Extent::FULL };
    let (mut sections, mut whole) = (Vec::new(), true);
    for (name, row) in ROWS {
        let this = wanted.iter().find(|(wanted, _)| *wanted == name);
        if this.is_none() && !wanted.is_empty() {
            continue;
        }
        let extent = Extent {
            only: this.map_or("", |(_, only)| only),
            ..extent
        };
        // A thread of its own: a row that panics has stopped what it started, and is over.
        let section = std::thread::spawn(move || row(extent))
            .join()
            .unwrap_or_else(|_| {
                whole = false;
                Section::failed(name)
            });
        println!("\n{}", section.text);
        sections.push(section);
    }
    println!("{}", report::goals(&sections));
    if !whole {
        eprintln!("bench: a row failed; nothing was written");
        return ExitCode::FAILURE;
    }
    if short || !wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    let path = limpet_tests::programs::workspace().join("docs/BENCHMARKS.md");
    match std::fs::write(&path, report::page(&sections, &busy)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: cannot write {}: {e}", path.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs one row on this thread, for so long and no longer.
fn in_time(row: impl Future<Output = Section>) -> Section {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let row = async { tokio::time::timeout(ROW_MAX, row).await };
    runtime
        .block_on(row)
        .unwrap_or_else(|_| panic!("the row took longer than {ROW_MAX:?}"))
}
